"""Use a changed monitoring file in a running stack: write the files again, and signal programs."""

import os
import signal
from collections.abc import Callable

from safelight.errors import SafelightError
from safelight.stack.local import ALERTMANAGER, PROMETHEUS, RELAY_TOKEN, Plan, Report, Stack
from safelight.stack.services import ALERT_RELAY

_OTHER_PROGRAMS = "other programs are needed: stop `safelight up` and start it again"
_RELAY_STAYS = "the receivers in group chats stay until `safelight up` starts again"


class Reloading:
    """Reloads the limits and receivers of a stack when somebody asked for it."""

    def __init__(self, stack: Stack, plan_again: Callable[[], Plan], report: Report) -> None:
        self._stack = stack
        self._plan_again = plan_again
        self._report = report
        self._is_asked = False

    def ask(self, *_: object) -> None:
        """Ask for it; a handler of signals."""
        self._is_asked = True

    def look(self) -> None:
        """Reload if somebody asked. A wrong monitoring file changes nothing and is reported."""
        if not self._is_asked:
            return
        self._is_asked = False
        try:
            self._reload(self._plan_again())
        except (SafelightError, OSError) as error:
            self._report(f"not reloaded: {error}")

    def _reload(self, plan: Plan) -> None:
        names = [program.name for program in plan.programs]
        if names != [program.name for program in self._stack.plan.programs]:
            self._report(f"not reloaded: {_OTHER_PROGRAMS}")
            return
        for path, text in plan.files.items():
            if path != plan.state / RELAY_TOKEN:  # the relay has read it
                path.write_text(text, encoding="utf-8")
        for name in (PROMETHEUS, ALERTMANAGER):
            os.kill(self._stack.pid(name), signal.SIGHUP)
        self._report("reloaded the limits and receivers")
        if ALERT_RELAY in names:
            self._report(_RELAY_STAYS)
