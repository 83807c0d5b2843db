"""Golden outputs on disk: what is written is read again, and a bad file counts as missing."""

from pathlib import Path

import pytest

from safelight.guard.golden import Golden, Print
from safelight.models.backend import ModelInfo
from safelight.serving.canary.enrolments import Enrolments, key_of
from safelight.settings import load

INFO = ModelInfo("m", "P", "S", "float16", "cuda:0", device_name="NVIDIA H200", torch="2.13.0")
GOLDENS = {
    "golden-1": Golden(Print("a1", b"\0\x80\xff" * 1024), 0.001, 0.25, 0.01),
    "golden-2": Golden(Print("b2", scores=(("cat", 0.9), ("dog", 0.05))), 0.0, 0.2, 0.0),
}
KEY = key_of(INFO, load(), 128, 3)


def test_what_is_enrolled_is_read_again(tmp_path: Path) -> None:
    made = Enrolments(tmp_path).write(KEY, "0f3a", GOLDENS)
    found = Enrolments(tmp_path).read(KEY, GOLDENS)
    assert found is not None
    assert (found.fingerprint, found.enrolled_at) == ("0f3a", made)
    assert found.goldens == GOLDENS


@pytest.mark.parametrize(
    "change",
    [{"device": "NVIDIA A10"}, {"torch": "2.12.0"}, {"precision": "float32"}, {"steps": "4"}],
)
def test_another_setup_has_golden_outputs_of_its_own(
    change: dict[str, str], tmp_path: Path
) -> None:
    enrolments = Enrolments(tmp_path)
    enrolments.write(KEY, "0f3a", GOLDENS)
    assert enrolments.read({**KEY, **change}, GOLDENS) is None
    [(name, value)] = change.items()
    assert enrolments.others({**KEY, name: value}) == [f"{name}: {KEY[name]}"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": {}, "goldens": 3}', b"\xff\xfe"])
def test_a_damaged_file_counts_as_missing_and_is_logged(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrolments = Enrolments(tmp_path)
    enrolments.write(KEY, "0f3a", GOLDENS)
    [file] = (tmp_path / "canary").iterdir()
    file.write_bytes(content)
    assert enrolments.read(KEY, GOLDENS) is None
    assert "golden outputs not read" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_logged_and_the_enrolment_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "canary").write_text("a file where the folder should be")
    assert Enrolments(tmp_path).write(KEY, "0f3a", GOLDENS)
    assert "golden outputs not written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"floor": 0.001', b'"floor": -1'),
        (b'"seconds": 0.25', b'"seconds": 1e999'),
        (b'"golden-2"', b'"golden-3"'),
        (b'"device": "NVIDIA H200"', b'"device": "NVIDIA A10"'),
        (b'"pixels": "AID', b'"pixels": "'),
    ],
)
def test_a_file_with_impossible_content_counts_as_missing_and_is_logged(
    old: bytes, new: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrolments = Enrolments(tmp_path)
    enrolments.write(KEY, "0f3a", GOLDENS)
    [file] = (tmp_path / "canary").iterdir()
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))
    assert enrolments.read(KEY, GOLDENS) is None
    assert "golden outputs not read" in capsys.readouterr().out
