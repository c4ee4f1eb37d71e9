"""Runs the command line: `python -m fcemu`."""

from fcemu.cli.group import main

if __name__ == "__main__":
    main()
