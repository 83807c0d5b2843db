"""Run the command `safelight` with `python -m safelight`."""

from safelight.cli.main import main

if __name__ == "__main__":
    main()
