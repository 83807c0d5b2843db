"""`safelight demo`: portrait, sheet of edits, folder of weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight.models.demo.bundle import DEMOS
from safelight.models.demo.painter import SIDE
from safelight.models.demo.sheet import sheet
from safelight.models.demo.wording import KINDS
from tests.cli.conftest import Call


def test_another_seed_paints_another_portrait(call: Call, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        answer = call("demo", "portrait", str(tmp_path / name), "--seed", str(seed))
        assert answer.code == 0
        assert "256 x 256 pixels" in answer.out
    one, again, two = (np.asarray(Image.open(tmp_path / n)) for n in ("one", "again", "two"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)


def test_the_sheet_shows_an_edit_of_every_kind(call: Call, tmp_path: Path) -> None:
    answer = call("demo", "sheet", str(tmp_path / "sheet.png"))
    assert answer.code == 0, answer.err
    cell = Image.new("RGB", (SIDE, SIDE))
    expected = sheet([("make him old", cell, cell)] * len(KINDS))
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.size == expected.size


def test_a_demo_is_saved_as_a_folder(call: Call, tmp_path: Path) -> None:
    answer = call("demo", "save", "demo-recognize", str(tmp_path / "model"))
    assert answer.code == 0
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("save", "demo-paint", "x"),
            f"'demo-paint' is not a demo. Choose one of {', '.join(DEMOS)}.",
        ),
        (("save", "demo-edit", "/"), "/ cannot be written: File exists."),
        (("portrait", "/"), "/ cannot be written: Is a directory."),
    ],
)
def test_an_invalid_command_is_one_line(words: tuple[str, ...], message: str, call: Call) -> None:
    answer = call("demo", *words)
    assert answer.code != 0
    assert answer.line == f"safelight: {message}"
