"""`python -m unbroken` is the command line."""

from unbroken.faces.cli.app import main

if __name__ == "__main__":
    main()
