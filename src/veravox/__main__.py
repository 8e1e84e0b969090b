"""`python -m veravox`."""

from veravox.apps.cli import main

if __name__ == "__main__":
    main()
