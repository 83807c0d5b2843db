"""Every text that operators read is in the catalogue of each language, and says the same."""

import re
from itertools import cycle
from pathlib import Path

import pytest

from safelight.dashboards.catalog import boards
from safelight.rules.alerts import alerts
from safelight.rules.files import WATCHDOG, Links, annotations
from safelight.rules.thresholds import DEFAULTS, Thresholds
from safelight.translation import (
    CODE,
    LOCALES,
    TEMPLATE,
    Language,
    phrases_of,
    read_messages,
    told,
    translate,
)
from scripts.texts import AT_START, SOURCE, all_texts, texts_of
from scripts.translations import ANSWERED, LANGUAGES, catalogue, differences, sources, updated
from tests.languages import english, finished

LIMITS = DEFAULTS.model_dump(exclude={"alerts"})
SAME = ("{{alertname}}", "GPUs", "SLO", "Z-Image")  # no words to translate
ALERTS = "|".join(alert.name for alert in (*alerts("any"), *WATCHDOG.alerts))
LEFT = {"amtool alert add", "make him old"}  # a command, and an instruction of models
# Placeholders, templates, code, alerts, metrics and settings, routes, files, matchers.
NAMES = re.compile(
    rf"\{{\d+\}}|{TEMPLATE}|{CODE}|\b(?:{ALERTS})\b|\w+_\w+|/\w+|\w+\.(?:md|yml)|\{{\w+=[^}}]+\}}",
    re.ASCII,
)
SENTENCE = re.compile(r"(?:[A-Z`]|\{\d+\})[^<>]*\w[^<>]*[.?]", re.DOTALL)
# Files whose sentences a page can show; those of routes (`summary`) are for programmers.
SAYING = (
    *(
        f"console/{file.name}"
        for file in sorted((SOURCE / "console").glob("*.py"))
        if file.name not in AT_START
    ),
    *("serving/engine/copies.py", "serving/engine/rest.py", "serving/engine/second_model.py"),
    *("serving/engine/sleeper.py", "serving/engine/slot.py", "serving/engine/split.py"),
    *("serving/http/body.py", "serving/http/sizes.py"),
    *("serving/http/front.py", "serving/http/making.py", "serving/http/encoding.py"),
    *("diagnosis/prometheus.py", "quality/formats.py", "quality/images.py"),
)
every_language = pytest.mark.parametrize("language", LANGUAGES)
PAIRS = [
    pytest.param(key, text, id=f"{language}: {key[:60]}")
    for language in LANGUAGES
    for key, text in read_messages(catalogue(language))
]


def changed(factor: float) -> Thresholds:
    """Return limits that are all different from their defaults, within their bounds."""
    limits = Thresholds()
    for name, value in LIMITS.items():
        number = type(value)(value * factor if value * factor != 1 else value)
        fields = {**limits.model_dump(), name: number}
        try:
            limits = Thresholds.model_validate(fields)
        except ValueError:  # out of the bounds of this limit
            continue
    return limits


@every_language
def test_every_text_is_translated_and_no_translation_is_obsolete(language: Language) -> None:
    missing, obsolete = differences(language)
    assert (missing, obsolete) == ([], []), "Run: python scripts/translations.py --update"


@every_language
def test_the_catalogue_is_as_the_script_writes_it(language: Language) -> None:
    assert catalogue(language).read_text(encoding="utf-8") == updated(language)


@pytest.mark.parametrize("factor", [0.1, 0.73, 1.01, 1.37, 2, 30])
def test_other_limits_need_no_other_translation(factor: float) -> None:
    limits = changed(factor)
    assert limits != DEFAULTS
    assert sources(limits).keys() - sources().keys() == set()


@pytest.mark.parametrize(("key", "text"), PAIRS)
def test_a_translation_has_the_same_names_and_values(key: str, text: str) -> None:
    assert sorted(NAMES.findall(text)) == sorted(NAMES.findall(key))


@every_language
@pytest.mark.parametrize("factor", [1, 1.37])
def test_no_annotation_stays_in_english(language: Language, factor: float) -> None:
    links = Links(language=language)
    for alert in (*alerts("edit", changed(factor)), *WATCHDOG.alerts):
        english, own = annotations(alert, Links()), annotations(alert, links)
        same = {name for name, text in own.items() if text == english[name]}
        assert same == {"runbook_url"}, alert.name


@every_language
def test_every_title_of_a_dashboard_is_translated_and_unique(language: Language) -> None:
    for board in boards():
        titles = [panel.title for panel in board.panels]
        own = [translate(title, language) for title in titles]
        assert len(set(own)) == len(own), board.title
        for title in (board.name, board.question, *(row.title for row in board.rows), *titles):
            assert title in SAME or translate(title, language) != title


def test_a_text_that_was_copied_by_hand_is_still_in_the_source() -> None:
    values = re.compile(r"\{\w+\}")
    known = {key for key in all_texts() if re.search("[a-z]{4}", values.sub("", key))}
    patterns = [re.compile(".*".join(map(re.escape, values.split(key)))) for key in known]
    gone = [text for text in ANSWERED if not any(each.fullmatch(text) for each in patterns)]
    assert gone == []


def test_what_is_said_in_chinese_has_no_run_of_english_words() -> None:
    values = ("busy", "4.2 s", "127.0.0.1:8000", "97 %")
    texts = finished(phrases_of("zh").said, values)
    own = [*(told(text, "zh") for text in texts), *phrases_of("zh").shown.values()]
    assert [text for text in own if set(english(text)) - LEFT] == []


@pytest.mark.parametrize("place", SAYING)
def test_every_sentence_that_a_page_can_show_has_a_translation(place: str) -> None:
    """Find also what no error carries: the state of a rollout, why a service cannot be asked."""
    said = {text for text in texts_of(SOURCE / place) if SENTENCE.fullmatch(text)}
    values = cycle(("busy", "4.2 s", "97 %"))
    finished = {re.sub(r"\{\d+\}", lambda _: next(values), text) for text in said}
    kept = {text: english(told(text, "zh")) for text in finished}
    assert {text: words for text, words in kept.items() if words} == {}


def test_there_is_one_catalogue_per_language() -> None:
    assert {Path(file).stem for file in LOCALES.iterdir()} == set(LANGUAGES)
