"""Fill in Grafana's variables, to run a dashboard's queries without Grafana."""

from dataclasses import dataclass

from safelight.dashboards.board import Board
from safelight.metrics.exact import seconds

ANY = ".*"


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


def first_choice(board: Board) -> str:
    """Return the namespace that a dashboard shows first, or an empty text if it has none."""
    return next((variable.first for variable in board.variables if variable.first), "")
