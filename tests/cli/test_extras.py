"""A command that needs an extra says so in one line, before it does anything."""

import sys
from pathlib import Path

import pytest

from safelight.models.extras import LIBRARIES
from tests.cli.conftest import Call

COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "models": [
        ("serve",),
        ("serve", "timbrooks/instruct-pix2pix", "--devices", "cuda:0,cuda:1"),
        ("serve", "--precision", "int8"),
        ("up",),
        ("up", "demo-edit", "demo-recognize", "--check"),
        ("demo", "sheet"),
        ("demo", "save", "demo-edit", "weights"),
        ("demo", "story", "io-bottleneck"),
        ("demo", "story", "bad-background"),
    ],
    "int8": [("serve", "--precision", "int8"), ("up", "--precision", "int8")],
    "postgres": [("radar",), ("tradeoff",), ("records", "upgrade"), ("serve",), ("up",)],
    "grafana": [
        ("export", "all", "files"),
        ("export", "grafana", "files"),
        ("export", "compose", "files"),
        ("export", "kubernetes", "files"),
        ("grafana", "push"),
    ],
}
LIBRARIES_OF: dict[str, tuple[str, ...]] = {**LIBRARIES, "grafana": ("grafana_foundation_sdk",)}


def hide(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a library and its modules look as if they were not installed."""
    for name in {library, *(name for name in sys.modules if name.startswith(f"{library}."))}:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("extra", "command"), [(extra, each) for extra, rows in COMMANDS.items() for each in rows]
)
def test_a_command_names_the_extra_that_it_needs(
    extra: str,
    command: tuple[str, ...],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if extra == "postgres":
        monkeypatch.setenv("SAFELIGHT_RECORDS_URL", "postgresql://anna@127.0.0.1:9/name")
    monkeypatch.delitem(sys.modules, "safelight.dashboards.grafana_json", raising=False)
    for library in LIBRARIES_OF[extra]:
        hide(library, monkeypatch)

    answer = call(*command)

    assert answer.code == 3
    assert answer.line.endswith(f"Run: pip install 'safelight[{extra}]'")
    assert "loading" not in answer.out
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
