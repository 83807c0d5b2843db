"""What a board is made of: rows of panels, each with its queries. Data only; no Grafana here."""

from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """How a panel draws what its queries return."""

    LINES = "a line per series, over time"
    STACK = "series stacked over time"
    GRID = "a row of coloured cells per series, over time"
    STATES = "a bar per series, coloured where the value is 1"
    BARS = "a bar per series, of the whole time shown"
    BUCKETS = "a bar per bucket of a histogram, of the whole time shown"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are called."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; `limit` draws a line, or colours, where an alert draws its own."""

    title: str
    description: str
    shape: Shape
    unit: str
    queries: tuple[Query, ...]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the board: the values of a label, by a `label_values` query."""

    name: str
    query: str


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; its uid never changes, so that links and imports keep working."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return every panel, row after row."""
        return tuple(panel for row in self.rows for panel in row.panels)
