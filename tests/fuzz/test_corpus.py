"""Every seed of the corpus, and every valid input, is accepted or refused as documented."""

from pathlib import Path

import pytest

from safelight.errors import NotAnImage
from tests.fuzz import targets
from tests.fuzz.seeds import CORPUS, VALID
from tests.fuzz.targets import TARGETS

SEEDS = sorted(CORPUS.glob("*/*"))


def test_every_target_has_valid_inputs_and_every_seed_a_target() -> None:
    assert set(VALID) == set(TARGETS)
    assert {file.parent.name for file in SEEDS} <= set(TARGETS)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda file: f"{file.parent.name}/{file.name[:20]}")
def test_a_seed_crashes_nothing(seed: Path) -> None:
    TARGETS[seed.parent.name](seed.read_bytes())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_valid_input_crashes_nothing(target: str) -> None:
    contents = list(VALID[target]())

    assert contents
    for content in contents:
        TARGETS[target](content)


def test_a_target_reports_every_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_content: bytes) -> tuple[int, int]:
        raise RecursionError

    def refuses(_content: bytes) -> tuple[int, int]:
        raise NotAnImage("PNG")

    monkeypatch.setattr(targets, "measure", refuses)
    TARGETS["decoders"](b"hello")
    monkeypatch.setattr(targets, "measure", fails)
    with pytest.raises(RecursionError):
        TARGETS["decoders"](b"hello")
