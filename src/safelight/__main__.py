"""`python -m safelight` is the command `safelight`."""

from safelight.cli.main import main

if __name__ == "__main__":
    main()
