"""`python -m fcemu` and the console script."""

from fcemu.cli.group import main

if __name__ == "__main__":
    main()
