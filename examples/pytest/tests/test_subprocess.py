"""Tests of clients in other processes, in any language."""

import shutil
import subprocess
import sys

import pytest


def test_our_client(fc):
    """A message from our client reaches the room."""
    done = subprocess.run(
        [sys.executable, "client.py", fc.ws_url, "lobby", "hello"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "hello\n"
    assert fc.invocations[0].close_code == 1000


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(fc):
    """curl reaches the function."""
    done = subprocess.run(["curl", "--silent", f"{fc.url}/rooms"], capture_output=True, text=True, check=True)
    assert done.stdout == "{}"
