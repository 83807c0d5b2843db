"""Fill in Grafana's variables, to run a dashboard's queries without Grafana."""

import re
from dataclasses import dataclass

from safelight.dashboards.board import Board

ANY = ".*"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Values of a dashboard's variables, and its time range."""

    namespace: str
    job: str = ANY
    instance: str = ANY
    card_job: str = ANY
    card_instance: str = ANY
    rate_interval: str = "1m"
    range: str = "1h"

    def fill(self, expr: str) -> str:
        """Return the expression as Grafana sends it."""
        for name, value in (
            ("${namespace}", self.namespace),
            ("$job", self.job),
            ("$instance", self.instance),
            ("$card_job", self.card_job),
            ("$card_instance", self.card_instance),
            ("$__rate_interval_ms", f"{1000 * seconds(self.rate_interval)}"),
            ("$__range_ms", f"{1000 * seconds(self.range)}"),
            ("$__rate_interval", self.rate_interval),
            ("$__range", self.range),
        ):
            expr = expr.replace(name, value)
        return expr


def seconds(window: str) -> int:
    """Return the seconds of a window such as `5m` or `1m15s`."""
    return sum(
        int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhd])", window)
    )


def first_choice(board: Board) -> str:
    """Return the namespace that a dashboard shows first, or an empty text if it has none."""
    return next((variable.first for variable in board.variables if variable.first), "")
