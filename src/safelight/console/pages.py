"""The pages of the console. To add one: a row here, and `static/pages/NAME.js`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the name of its script, its address, and its name in the navigation."""

    name: str
    path: str
    title: str


PAGES = (
    Page("now", "/", "Now"),
    Page("try", "/try", "Try"),
    Page("alerts", "/alerts", "Alerts"),
    Page("requests", "/requests", "Requests"),
    Page("report", "/report", "Health report"),
    Page("instructions", "/instructions", "Instructions"),
    Page("act", "/act", "Act"),
    Page("dashboards", "/dashboards", "Dashboards"),
)
