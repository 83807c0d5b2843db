"""Grafana's variables filled in, for whoever asks a board's queries without Grafana."""

from dataclasses import dataclass

from safelight.dashboards.board import Board

ANY = ".*"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen at the top of a board, and the time that it shows."""

    namespace: str
    job: str = ANY
    instance: str = ANY
    rate_interval: str = "1m"
    range: str = "1h"

    def fill(self, expr: str) -> str:
        """Return a query as Grafana would send it."""
        for name, value in (
            ("${namespace}", self.namespace),
            ("$job", self.job),
            ("$instance", self.instance),
            ("$__rate_interval", self.rate_interval),
            ("$__range", self.range),
        ):
            expr = expr.replace(name, value)
        return expr


def first_choice(board: Board) -> str:
    """Return the namespace that a board shows before anybody chooses; empty where it has none."""
    return next((each.first for each in board.variables if each.first), "")
