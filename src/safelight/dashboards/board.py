"""Data types of dashboards: rows of panels, and their queries."""

from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """How a panel draws the results of its queries."""

    LINES = "a line per series, over time"
    STACK = "series stacked over time"
    GRID = "a row of coloured cells per series, over time"
    STATES = "a bar per series, coloured where the value is 1"
    BARS = "a bar per series, over the whole time range"
    BUCKETS = "a bar per bucket of a histogram, over the whole time range"
    HEAT = "coloured cells: the buckets of a histogram over time"
    NUMBER = "the last value of each series, large"
    TABLE = "a line of text per series: its labels"
    ALERTS = "a table of alerts, each with a link to its dashboard"


class Better(StrEnum):
    """Which values of a panel are good. It decides the colours."""

    HIGH = "high"
    LOW = "low"


_LABELS = {"card_job": "Machine job", "card_instance": "Machine"}  # of variables
FIRING = "an alert that fires"  # what a panel of alerts needs to show something


# These show the values of one moment: Grafana sends instant queries.
INSTANT = (Shape.BARS, Shape.BUCKETS, Shape.NUMBER, Shape.TABLE, Shape.ALERTS)


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the legend of its series."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `limit` draws the limit of an alert as a line or as colours.

    `needs` names what the panel needs to show data, if a demo on a CPU does not have it.
    `axis_unit` is the unit of a histogram's edges, where `unit` is that of its counts.
    """

    title: str
    description: str
    shape: Shape
    unit: str
    queries: tuple[Query, ...]
    limit: float | None = None
    needs: str = ""
    better: Better | None = None
    axis_unit: str = ""
    maximum: float | None = None  # of the bars; shares end at 1
    onward: str = ""  # uid of the dashboard that it links to, if not that of its row

    @property
    def is_of_model(self) -> bool:
        """Return whether the metrics are those of one service's model."""
        return any("${namespace}_" in query.expr for query in self.queries)

    @property
    def text(self) -> str:
        """Return the description, with what the panel needs."""
        return f"{self.description} Needs {self.needs}." if self.needs else self.description

    @property
    def empty_text(self) -> str:
        """Return what the panel says without data, so that nobody takes it for broken."""
        if self.needs == FIRING:
            return "Nothing fires."
        if self.needs:
            return f"No data. Needs {self.needs}."
        return "No data. Is the service scraped, and does it get requests?"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading. Each links to the dashboard `onward`, which shows the next detail.

    A closed row shows its heading only, until somebody opens it.
    """

    title: str
    panels: tuple[Panel, ...]
    onward: str = ""
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable at the top of the dashboard, with the values of a `label_values` query.

    `several` allows multiple values. A hidden one only passes a choice on. `first` is the value
    until somebody chooses another one. A variable without a query has only that value, and no link
    changes it.
    """

    name: str
    query: str
    several: bool = True
    first: str = ""
    is_hidden: bool = False

    @property
    def label(self) -> str:
        """Return the text beside the variable."""
        return _LABELS.get(self.name, self.name.capitalize())


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mark across all panels, at the times at which the expression has a result."""

    name: str
    expr: str
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. Its uid never changes, because links and imports use it."""

    uid: str
    title: str
    question: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()
    alerts: tuple[str, ...] = ()  # the alerts that lead here
    onward: tuple[str, ...] = ()  # uids of the dashboards to look at next
    begin: str = "now-30m"
    refresh: str = "10s"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return every panel, row after row."""
        return tuple(panel for row in self.rows for panel in row.panels)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the variables."""
        return tuple(variable.name for variable in self.variables)

    @property
    def is_fixed(self) -> bool:
        """Return whether the dashboard is for one service, which no link changes."""
        return any(not variable.query for variable in self.variables)

    @property
    def name(self) -> str:
        """Return the title without the name of the product."""
        return self.title.rpartition(" / ")[2]
