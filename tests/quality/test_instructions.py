from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import BadSetting
from safelight.metrics.catalog import REQUEST_SECONDS, REQUESTS, SUCCESSES
from safelight.quality.instructions import TYPE_LIMIT, Taxonomy, load_taxonomy
from tests.reading import processor_seconds, slowness

BUILT_IN = load_taxonomy()
WORDINGS = {
    "make_him_old": (
        "make him old",
        "Make her look OLDER",
        "turn the man into an elderly person",
        "what would he look like aged 80?",
        "add wrinkles",
        "让他变老",
        "老年人",
    ),
    "make_him_young": ("make him younger", "turn her into a child", "让她变年轻一点"),
    "make_smile": ("make her smile", "he should be laughing", "让他微笑"),
    "add_sunglasses": ("add sunglasses", "give him Sunglasses", "给他戴上墨镜", "加一副太阳镜"),
    "add_glasses": ("give her glasses", "戴眼镜"),
    "remove_glasses": ("remove the glasses", "without sunglasses", "摘掉他的眼镜"),
    "add_beard": ("give him a beard", "加上胡子"),
    "remove_beard": ("shave his beard", "remove the moustache"),
    "add_hat": ("put a hat on him", "add a crown", "戴上帽子"),
    "change_hair": ("make her hair blonde", "换个发型"),
    "change_clothes": ("put him in a suit", "she wears a red dress", "换一件衣服"),
    "change_background": (
        "change the background to a beach",
        "put him on the moon",
        "把背景换成海滩",
    ),
    "remove_background": ("remove the background", "cut out the background", "去除背景", "抠图"),
    "change_season": ("make it winter", "at night", "换成冬天"),
    "change_style": ("in the style of van gogh", "as a watercolor painting", "变成油画"),
    "change_colour": ("make the car red", "a bit brighter", "改变颜色"),
    "add_object": ("add a dog", "添加一只狗"),
    "remove_object": ("remove the car", "删除路人"),
    "other": ("swap sunflowers for roses", "qwertz", "🙂", "1234"),
    "none": ("", "   ", "\n\t"),
}
CASES = [(text, kind) for kind, texts in WORDINGS.items() for text in texts]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.yaml"


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_an_instruction_has_a_type(text: str, kind: str) -> None:
    assert BUILT_IN.classify(text) == kind


def test_every_built_in_type_is_tested_by_a_wording() -> None:
    assert set(WORDINGS) == set(BUILT_IN.names)


@given(st.text())
def test_text_never_becomes_a_type(text: str) -> None:
    assert BUILT_IN.classify(text) in BUILT_IN.names


@pytest.mark.parametrize("text", ["other", "none", "make_him_old", "{__class__}", "../../etc"])
def test_text_that_looks_like_a_type_is_read_as_any_other(text: str) -> None:
    assert BUILT_IN.classify(text) in BUILT_IN.names


def test_case_and_spacing_do_not_matter() -> None:
    assert BUILT_IN.classify("  MAKE \n him   OLD ") == "make_him_old"


def test_the_built_in_types_fit_into_the_metrics_that_carry_them() -> None:
    assert len(BUILT_IN.names) <= TYPE_LIMIT + 2
    carriers = (REQUEST_SECONDS, REQUESTS, SUCCESSES)
    assert min(metric.series for metric in carriers) > TYPE_LIMIT + 2


@pytest.mark.parametrize("text", ["a" * 10_000, "remove " * 2000, "no no " * 1700, "背" * 10_000])
def test_an_instruction_without_end_is_read_in_no_time(text: str) -> None:
    asked = iter(text + str(attempt) for attempt in range(5))
    best = min(processor_seconds(lambda: BUILT_IN.classify(next(asked))) for _ in range(5))
    assert best < 0.005 * slowness()


def test_an_own_file_replaces_the_built_in_one(file: Path) -> None:
    file.write_text("make_cat:\n  - '\\bcat\\b'\n  - 猫\n", encoding="utf-8")
    own = load_taxonomy(file)
    assert own.names == ("make_cat", "other", "none")
    assert own.classify("turn it into a CAT") == "make_cat"
    assert own.classify("把它变成猫") == "make_cat"
    assert own.classify("make him old") == "other"


def test_a_type_may_say_what_its_edits_keep_and_the_others_keep_the_default(file: Path) -> None:
    file.write_text(
        "a_cat: [cat]\n"
        "no_cat: {keeps: 0.25, patterns: [without]}\n"
        "art: {keeps: 0, patterns: [oil]}\n"
    )
    own = load_taxonomy(file)
    assert own.classify("a bed without it") == "no_cat"
    assert [own.keeps(name, 0.1) for name in ("a_cat", "no_cat", "art", "other")] == [
        0.1,
        0.25,
        0,
        0.1,
    ]


def test_every_built_in_type_says_what_its_edits_keep() -> None:
    unsaid = {name for name in BUILT_IN.names if BUILT_IN.keeps(name, -1.0) < 0}
    assert unsaid == {"other", "none"}


def test_the_first_type_that_fits_wins(file: Path) -> None:
    file.write_text("one: [cat]\ntwo: [cat, dog]\n")
    own = load_taxonomy(file)
    assert (own.classify("a cat and a dog"), own.classify("a dog")) == ("one", "two")


def test_a_taxonomy_without_types_knows_only_other() -> None:
    assert Taxonomy(()).classify("make him old") == "other"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must map type names"),
        (b"[]", "must map type names"),
        (b"just text", "must map type names"),
        (b"a: [b", "cannot be read"),
        (b"\xff\xfe\xfa", "cannot be read"),
        (b"\x00", "cannot be read"),
        (b"Make Old: [old]", "is invalid"),
        (b"other: [old]", "is invalid"),
        (b"none: [old]", "is invalid"),
        (b"1: [old]", "is invalid"),
        (b"a" * 41 + b": [old]", "is invalid"),
        (b"make_old:", "needs a list"),
        (b"make_old: old", "needs a list"),
        (b"make_old: []", "needs a list"),
        (b"make_old: [1]", "needs a list"),
        (b"make_old: ['(']", "invalid pattern"),
        (b"make_old: {patterns: [old]}", "`patterns` and `keeps`"),
        (b"make_old: {keeps: 0.5}", "`patterns` and `keeps`"),
        (b"make_old: {keeps: 1.5, patterns: [old]}", "0 to 1"),
        (b"make_old: {keeps: .nan, patterns: [old]}", "0 to 1"),
        (b"make_old: {keeps: true, patterns: [old]}", "0 to 1"),
        (b"make_old: {keeps: half, patterns: [old]}", "0 to 1"),
        (b"make_old: {keeps: 0.5, patterns: []}", "needs a list"),
        (b"make_old: {keeps: 0.5, patterns: [old], more: 1}", "`patterns` and `keeps`"),
        (b"\n".join(b"type_%d: [a]" % n for n in range(TYPE_LIMIT + 1)), "the limit is 40"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(
    content: bytes, said: str, file: Path
) -> None:
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=said) as raised:
        load_taxonomy(file)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_none_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="cannot be read"):
        load_taxonomy(tmp_path / name)
