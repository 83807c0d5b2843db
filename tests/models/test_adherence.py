"""Whether pictures fit what was asked: by the demos' tagger, and by CLIP's real class."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from safelight.errors import ModelNotFound
from safelight.models.adherence import Judge, judge_for
from safelight.models.backend import Edit, Generation
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.models.demo.wording import KINDS, caption, pair_of
from tests.models.test_zeroshot import saved


@pytest.fixture(scope="module")
def tagger() -> Judge:
    judge = judge_for("demo-edit", "")
    assert judge is not None
    return judge


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    judge = judge_for("demo-edit", str(saved("CLIP", tmp_path_factory.mktemp("clip"))))
    assert judge is not None
    return judge


def edit(picture: Any, instruction: str) -> Edit:
    return Edit(picture, instruction, "", 2, 7.5, 1.5, 0)


def test_the_tagger_tells_edits_that_were_made_from_those_that_were_not(tagger: Judge) -> None:
    for place, kind in enumerate(KINDS):
        pair = pair_of(kind, 68_000_000 + place)
        before, after = paint(pair.before), paint(pair.after)
        asked = edit(before, pair.instruction)
        made, left = tagger(asked, numpy.asarray(after)), tagger(asked, numpy.asarray(before))
        assert made is not None
        assert left is not None
        assert 0 <= left < 0.5 < made <= 1, kind.name


def test_the_tagger_reads_captions_too(tagger: Judge) -> None:
    import random

    person, other = draw(1), draw(2)
    asked = Generation((64, 64), caption(person, random.Random(0)), "", 2, 0.0, 0)
    right, wrong = (tagger(asked, numpy.asarray(paint(who))) for who in (person, other))
    assert right is not None
    assert wrong is not None
    assert wrong < 0.5 < right


def test_the_tagger_says_nothing_of_what_it_does_not_understand(tagger: Judge) -> None:
    picture = paint(draw(1))
    assert tagger(edit(picture, "make it a cyborg"), numpy.asarray(picture)) is None


def test_a_model_of_somebody_elses_has_no_judge_but_a_clip_of_theirs() -> None:
    assert judge_for("timbrooks/instruct-pix2pix", "") is None
    assert judge_for("timbrooks/instruct-pix2pix", "some/clip") is not None


def test_clip_is_undecided_where_the_edit_changed_nothing(clip: Judge) -> None:
    picture = paint(draw(1))
    assert clip(edit(picture, "make him old"), numpy.asarray(picture)) == pytest.approx(0.5)


def test_clip_weighs_the_picture_made_against_the_one_sent_in(clip: Judge) -> None:
    one, other = paint(draw(1)), paint(draw(2))
    there = clip(edit(one, "a hat"), numpy.asarray(other))
    back = clip(edit(other, "a hat"), numpy.asarray(one))
    assert there is not None
    assert back is not None
    assert there + back == pytest.approx(1, abs=1e-4)
    assert there != pytest.approx(0.5, abs=1e-6)


def test_clip_scores_a_new_picture_as_clipscore_does(clip: Judge) -> None:
    asked = Generation((64, 64), "a portrait", "", 2, 0.0, 0)
    found = clip(asked, numpy.asarray(paint(draw(1))))
    assert found is not None
    assert 0 <= found <= 1


def test_other_threads_keep_the_processors_that_they_have(clip: Judge) -> None:
    before = torch.get_num_threads()
    import threading

    thread = threading.Thread(target=lambda: torch.set_num_threads(1))
    thread.start()
    thread.join()
    assert torch.get_num_threads() == before


def test_a_clip_that_is_none_is_told_when_it_is_first_needed(tmp_path: Path) -> None:
    judge = judge_for("demo-edit", str(tmp_path))
    assert judge is not None
    picture = paint(draw(1))
    with pytest.raises(ModelNotFound):
        judge(edit(picture, "make him old"), numpy.asarray(picture))
