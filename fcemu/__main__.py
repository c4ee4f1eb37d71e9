"""`python -m fcemu` and the console script."""

from fcemu.cli import main

if __name__ == "__main__":
    main()
