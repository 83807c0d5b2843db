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
    HEAT = "coloured cells: the buckets of a histogram over time"
    NUMBER = "the last value of each series, large"
    TABLE = "a line of text per series: its labels"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are called."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; `limit` draws a line, or colours, where an alert draws its own.

    `needs` says what there must be for it to show anything, where a demo on a processor lacks it.
    """

    title: str
    description: str
    shape: Shape
    unit: str
    queries: tuple[Query, ...]
    limit: float | None = None
    needs: str = ""

    @property
    def text(self) -> str:
        """Return the description, and what the panel needs."""
        return f"{self.description} Needs {self.needs}." if self.needs else self.description


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the board: the values of a label, by a `label_values` query.

    `pattern` keeps of each value what its group finds; a choice is of one, or of `several`.
    """

    name: str
    query: str
    several: bool = True
    pattern: str = ""
    first: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mark across all panels, at each time at which the expression has a result."""

    name: str
    expr: str
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; its uid never changes, so that links and imports keep working."""

    uid: str
    title: str
    question: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return every panel, row after row."""
        return tuple(panel for row in self.rows for panel in row.panels)
