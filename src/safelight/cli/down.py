"""`safelight down`: stop what `safelight up` runs, or left behind."""

from pathlib import Path
from typing import Annotated

from safelight.cli.options import console, setting_option
from safelight.settings import load
from safelight.stack.lock import leftovers, running, stop


def down(state_folder: Annotated[Path | None, setting_option("state_folder")] = None) -> None:
    """Stop `safelight up`, or the programs that it left behind when it was killed.

    Examples:

        safelight down

        safelight down --state-folder /var/lib/safelight
    """
    state = load(state_folder=state_folder).state_folder.expanduser().absolute()
    out, up = console(), running(state)
    if up is not None:
        stop([up])  # it stops its programs in order
        out.print(f"Stopped safelight up (pid {up.pid}).")
    left = leftovers(state)
    stop(left)
    for program in left:
        out.print(f"Stopped {program.name} (pid {program.pid}).")
    if up is None and not left:
        out.print(f"Nothing runs in {state}.")
