"""Every published figure says when it was measured, and is not older than a hundred changes."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.published import LIMIT, PAGE, PATHS, ROOT, Figures, figures, origin, parts

TEXT = PAGE.read_text()
WITH_TABLES = [name for name, text in parts(TEXT) if "|---|" in text]


@pytest.mark.parametrize("part", WITH_TABLES)
def test_each_table_of_figures_names_its_day_and_its_commit(part: str) -> None:
    assert part in {one.part for one in figures(TEXT)}, "write: Measured on DATE at `COMMIT`"


def test_each_part_of_the_page_lists_what_it_measures() -> None:
    assert set(WITH_TABLES) == PATHS.keys()
    missing = [path for paths in PATHS.values() for path in paths if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("measured", figures(TEXT), ids=lambda one: f"{one.part}, {one.date}")
def test_a_figure_is_not_older_than_a_hundred_changes_of_what_it_measures(
    measured: Figures,
) -> None:
    since = measured.commits_since()  # None: a source archive has no history to check
    assert since is None or since <= LIMIT, "measure again, or take the figure off the page"


def test_commits_are_counted_since_a_figure_where_the_history_is_known(tmp_path: Path) -> None:
    path = PATHS["Serving"][0]
    commits = [_commit(tmp_path, f"{path}/{number}.py") for number in range(3)]
    _commit(tmp_path, "another.py")
    assert Figures("Serving", "", commits[0]).commits_since(tmp_path) == 2
    assert Figures("Serving", "", "0" * 40).commits_since(tmp_path) is None


def test_figures_that_are_measured_now_say_their_origin_as_the_page_does() -> None:
    pattern = r"Measured on \d{4}-\d\d-\d\d at `([0-9a-f]{7,40}|unknown)`( with changes)?"
    assert re.fullmatch(pattern, origin())


def _commit(folder: Path, name: str) -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x = 1\n")
    person = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*person, "commit", "-qm", "Add")):
        subprocess.run(("git", *command), cwd=folder, check=True)
    done = subprocess.run(
        ("git", "rev-parse", "HEAD"), cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
