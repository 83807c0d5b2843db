"""Writes the generated pages of docs/; with --check it only compares, and names what differs."""

import ast
import json
import sys
from pathlib import Path

from safelight.cli.main import app
from safelight.cli.reference import commands_page, errors_page, settings_page
from safelight.reference.alerts import as_markdown as alerts_page
from safelight.reference.alerts import runbooks as runbooks_page
from safelight.reference.checks import as_markdown as diagnosis_page
from safelight.reference.dashboards import as_markdown as boards_page
from safelight.reference.metrics import as_markdown as metrics_page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_BEGIN, _END = "<!-- begin: made by `make docs` -->", "<!-- end -->"
NAMESPACE = "instructpix2pix"


def floor_plan() -> str:
    """Return the table of every module, with the sentence that opens it."""
    source = ROOT / "src" / "safelight"
    rows = ["| module | what it is |", "|---|---|"]
    for file in sorted(source.rglob("*.py"), key=lambda file: (len(file.parts), file)):
        doc = ast.get_docstring(ast.parse(file.read_text())) or ""
        if file.name != "__init__.py":
            rows.append(f"| `{file.relative_to(source).as_posix()}` | {doc.splitlines()[0]} |")
    return "\n".join(rows)


def architecture_page() -> str:
    """Return docs/architecture.md as it is written, with the table of modules made anew."""
    prose = (DOCS / "architecture.md").read_text()
    before, _, rest = prose.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{floor_plan()}\n{_END}{rest.partition(_END)[2]}"


def pages() -> dict[str, str]:
    """Return every generated page by its name."""
    return {
        "metrics.md": metrics_page(NAMESPACE),
        "alerts.md": alerts_page(NAMESPACE),
        "dashboards.md": boards_page(),
        "runbooks.md": runbooks_page(NAMESPACE),
        "diagnosis.md": diagnosis_page(json.loads((DOCS / "truth.json").read_text())),
        "settings.md": settings_page(),
        "errors.md": errors_page(),
        "cli.md": commands_page(app),
        "architecture.md": architecture_page(),
    }


def drift() -> list[str]:
    """Return the names of the pages that are not as the source makes them."""
    return [
        name
        for name, text in pages().items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text() != text
    ]


if __name__ == "__main__":
    if "--check" in sys.argv:
        differing = drift()
        if differing:
            sys.exit(f"Not as the source makes it: {', '.join(differing)}. Run: make docs")
    else:
        for name, text in pages().items():
            (DOCS / name).write_text(text)
