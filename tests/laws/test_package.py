"""Laws of the package: imports, sizes of files and functions, and use of the catalogue."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import safelight
from safelight.metrics import catalog
from safelight.metrics.catalog import CATALOG
from safelight.metrics.metric import Metric

ROOT = Path(safelight.__file__).parent
PROJECT = ROOT.parent.parent
FILES = sorted(ROOT.rglob("*.py"))
MAX_LINES, MAX_LINES_OF_DATA, MAX_LINES_OF_A_BODY, MAX_ARGUMENTS = 300, 700, 40, 6
DATA = {
    ROOT / "metrics" / "catalog.py",
    *(ROOT / "dashboards" / "boards").glob("*.py"),
    ROOT / "settings.py",
    ROOT / "errors.py",  # one class hierarchy
}
COMMANDS = ROOT / "cli"  # a command can have any number of options
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "fastapi",
    "starlette",
    "flask",
    "uvicorn",
    "httpx",
    "numpy",
    "PIL",
    "pynvml",
    "opentelemetry",
    "grafana_foundation_sdk",
    "sqlalchemy",
    "alembic",
)
Function = ast.FunctionDef | ast.AsyncFunctionDef

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def functions(file: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(file)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Return the lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


# ── Imports ──────────────────────────────────────────────────────────────────────────────────────


def test_importing_safelight_loads_no_large_library() -> None:
    program = f"import safelight, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "module", ["serving.app", "serving.http.api", "serving.engine.pool", "cli.main"]
)
def test_the_api_process_imports_neither_torch_nor_numpy(module: str) -> None:
    program = (
        f"import safelight.{module}, sys; "
        "print([m for m in ('torch', 'diffusers', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("name", safelight.__all__)
def test_every_public_name_is_imported_when_it_is_first_used(name: str) -> None:
    assert name in dir(safelight)
    assert getattr(safelight, name).__module__.startswith("safelight.")


def test_the_recorder_starts_without_the_libraries_of_the_service() -> None:
    libraries = ("pydantic", "structlog", "prometheus_client", "fastapi")
    program = (
        "import safelight.records.child, sys; "
        f"print([m for m in {libraries!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_packages_import_only_from_lower_layers() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_public_names_are_sorted_and_exist() -> None:
    assert safelight.__all__ == sorted(safelight.__all__)
    assert all(hasattr(safelight, name) for name in safelight.__all__)


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        file.name for file in FILES if re.search(r"os\.(environ|getenv|putenv)", file.read_text())
    }
    assert readers == {"settings.py"}


# ── Sizes ────────────────────────────────────────────────────────────────────────────────────────


@every_file
def test_no_file_is_too_long(file: Path) -> None:
    maximum = MAX_LINES_OF_DATA if file in DATA else MAX_LINES
    assert len(file.read_text().splitlines()) <= maximum


@every_file
def test_no_function_is_too_long(file: Path) -> None:
    lengths = [(function.name, body_lines(function)) for function in functions(file)]
    assert [(name, lines) for name, lines in lengths if lines > MAX_LINES_OF_A_BODY] == []


def test_nine_of_ten_functions_have_at_most_twenty_lines() -> None:
    lines = sorted(body_lines(function) for file in FILES for function in functions(file))
    assert lines[int(0.9 * len(lines))] <= 20


ALIASES = re.findall(r"^(\w+) = Any$", (ROOT / "libraries.py").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [
        (r"dict\[str, Any\]", 10),
        (rf"\b(Any|{'|'.join(ALIASES)})\b", 200),
        (r"fmt: (skip|off)", 20),
        (r"type: ignore", 5),
    ],
)
def test_shortcuts_around_types_and_layout_are_rare(pattern: str, limit: int) -> None:
    lines = [line for file in FILES for line in file.read_text().splitlines()]
    uses = [line for line in lines if "import" not in line for _ in re.findall(pattern, line)]
    assert len(uses) <= limit


def test_messages_to_workers_are_typed() -> None:
    text = (ROOT / "serving" / "wire" / "schema.py").read_text()
    assert not re.search(r"\bobject\b|\bAny\b|\bcast\b|pickle|type: ignore", text)


def test_only_one_module_formats_percentages() -> None:
    files = [file for file in FILES if re.search(r":\.\d%\}", file.read_text())]
    assert files == []


@pytest.mark.parametrize("file", [file for file in FILES if not file.is_relative_to(COMMANDS)])
def test_no_function_takes_too_many_arguments(file: Path) -> None:
    counts = {
        function.name: len(
            function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        )
        for function in functions(file)
    }
    counts.pop("watch", None)  # the public entry: each argument is one choice of its user
    assert {name: count for name, count in counts.items() if count > MAX_ARGUMENTS + 1} == {}


@every_file
def test_every_function_has_a_return_type(file: Path) -> None:
    assert [function.name for function in functions(file) if function.returns is None] == []


@every_file
def test_every_module_starts_with_a_sentence(file: Path) -> None:
    sentence = (ast.get_docstring(tree(file)) or "").split("\n\n")[0]
    assert sentence.endswith((".", ":")), file


@every_file
def test_module_names_have_one_or_two_words(file: Path) -> None:
    assert re.fullmatch(r"__\w+__|[a-z]+(_[a-z]+)?", file.stem)


def test_no_module_name_is_used_in_more_than_two_folders() -> None:
    counts = Counter(file.stem for file in FILES if not file.stem.startswith("__"))
    assert {name: count for name, count in counts.items() if count > 2} == {}


# ── Use of the catalogue ─────────────────────────────────────────────────────────────────────────

NAMES = {value: name for name, value in vars(catalog).items() if isinstance(value, Metric)}


@cache
def names_used() -> frozenset[str]:
    """Return the names that modules read, without rules and dashboards."""
    readers = (ROOT / "rules", ROOT / "dashboards", ROOT / "metrics" / "catalog.py")
    return frozenset(
        node.id
        for file in FILES
        if not any(file.is_relative_to(place) for place in readers)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_every_metric_of_the_catalogue_is_counted_somewhere(metric: Metric) -> None:
    assert NAMES[metric] in names_used()


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "catalog.py"])
def test_a_metrics_name_is_written_only_in_the_catalogue(file: Path) -> None:
    full = {metric.full_name("instructpix2pix") for metric in CATALOG}
    full |= {metric.name for metric in CATALOG if metric.name.count("_") > 1}
    written = {
        node.value
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert written & full == set()
