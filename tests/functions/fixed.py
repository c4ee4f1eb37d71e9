"""The echo function, hard-wired to the port that it is given on the command line."""

import os
import runpy
import sys

os.environ["FC_SERVER_PORT"] = sys.argv[1]
runpy.run_path("echo.py", run_name="__main__")
