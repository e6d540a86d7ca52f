"""`python -m anmok` is the command line."""

from anmok.cli import main

if __name__ == "__main__":
    main()
