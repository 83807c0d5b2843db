import re
from time import process_time

import pytest

from safelight.translation import _candidates, split, told, translate
from tests.languages import HOSTILE, finished


def test_numbers_with_their_units_are_placeholders() -> None:
    key, values = split("5 % of 100 MiB in 1h, not 3.5 s or 1e-05 %; 429 is a status.")
    assert key == "{0} of {1} in {2}, not {3} or {4}; {5} is a status."
    assert values == ["5 %", "100 MiB", "1h", "3.5 s", "1e-05 %", "429"]


@pytest.mark.parametrize(
    "text",
    [
        "P95 of a 5xx status with float16",
        '{{ $value | printf "%.0f" }} of {{ $labels.job }}',
        "`step 3`",
        "request_total, cuda:N",
    ],
)
def test_templates_code_and_names_keep_their_numbers(text: str) -> None:
    assert split(text) == (text, [])


def test_a_name_is_a_placeholder_only_as_a_whole_word() -> None:
    key, values = split("The model of edit has edit_total and `edit`.", "edit")
    assert (key, values) == ("The model of {0} has edit_total and `edit`.", ["edit"])


def test_english_stays_as_it_is() -> None:
    assert translate("Do", "en") == "Do"


def test_values_return_into_the_translation_in_its_own_order() -> None:
    text = translate("When was P95 over 2.5 s for 7 minutes?", "zh")
    assert re.findall(r"[\d.]+ ?\w?", text.removeprefix("P95")) == ["7 分", "2.5 s"]


def test_a_percentage_is_written_as_the_language_does() -> None:
    assert translate("When was VRAM over 97.5 %?", "zh").endswith("超过 97.5 %？")  # noqa: RUF001


def test_the_name_of_a_service_is_kept() -> None:
    for name in ("zimage", "edit_2"):
        text = translate(f"No service with the namespace {name} is scraped", "zh", name)
        assert text == f"没有抓取到命名空间为 {name} 的服务"


def test_a_name_that_is_also_a_word_of_the_text_changes_nothing_else() -> None:
    assert translate("Restart what has stopped.", "zh", "what") == "重启已停止的组件。"


def test_a_text_without_a_translation_stays_in_english() -> None:
    text = "{{ $labels.job }}: 5 % of nothing that anybody wrote"
    assert translate(text, "zh") == text


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("longest stage: decode, 2.1 s per request, 45 % of the time", "占总时间的 45 %"),
        ("the model takes 1.6 times as long as before: 80 ms per step", "每步 80 ms"),
        ("edit: the error budget of latency burns too fast", "latency"),
        ("The error budget of latency burns too fast", "latency"),
        ("4; the limit is 2; the moon is full", "阈值为 2"),
        ("The device ran out of memory. Send a smaller image, or fewer at once.", "或减少同时发送"),
        ("a.example:8000 does not answer. Is it running?", "它在运行吗"),
    ],
)
def test_a_finished_text_is_told_with_the_values_and_phrases_in_it(text: str, own: str) -> None:
    assert own in told(text, "zh")
    assert told(text, "en") == text


def test_a_text_that_nobody_knows_stays_as_it_is() -> None:
    text = "the moon of {0} is full: {{ $labels.job }} \\ ("
    assert told(text, "zh") == text


@pytest.mark.parametrize(
    "text",
    [
        "Restart it after the upgrade",
        "steps must be smaller",
        "model failed to load",
        "level of water",
        "request since yesterday",
        "a key named Now",
        "Now does something that nobody knows",
        "Send it",
    ],
)
def test_words_that_only_pages_use_are_no_patterns(text: str) -> None:
    assert told(text, "zh") == text


def test_a_value_is_translated_only_if_a_service_says_it() -> None:
    assert told("Now", "zh") == "当前"
    assert told("Now does not answer. Is it running?", "zh").startswith("Now ")


def test_an_alert_that_waits_is_told_as_a_whole() -> None:
    text = "the alert is pending since 2026-01-02T03:04:05Z (17.9 min); it fires after 60 minutes"
    assert "耗时" not in told(text, "zh")


@pytest.mark.parametrize(
    ("text", "own"),
    [
        *(("14.1s", "14.1 s"), ("1m 30s", "1 min 30 s"), ("85%", "85 %"), ("3 days", "3 d")),
        ("the file system / of a is 97 % full", "a 的文件系统 / 已用 97 %"),
        ("the last steps take 3 times as long as the others", "最后几步用时是其他步的 3 倍"),
    ],
)
def test_numbers_have_a_space_and_the_unit_that_dashboards_write(text: str, own: str) -> None:
    assert told(text, "zh") == own


def test_sentences_are_told_one_by_one() -> None:
    text = "The content type is 'a/b'. Retry in 5 seconds."
    assert told(text, "zh") == "内容类型为 'a/b'。请在 5 秒后重试。"
    assert told("The moon is full. This is a test.", "zh") == "The moon is full. 这是一次测试。"


def test_a_placeholder_that_somebody_wrote_stays() -> None:
    text = told("{0} of the requests fail with {1}, caused by callers", "zh")
    assert "{0}" in text
    assert "{1}" in text


def test_only_few_templates_are_tried_for_a_text() -> None:
    texts = finished()
    tried = [len(_candidates(text, "zh")) for text in texts]
    assert max(tried) < 450
    assert sum(tried) / len(tried) < 200


def test_no_text_takes_much_longer_than_a_usual_one() -> None:
    """Compare the time of texts that were made to take long with that of all texts there are."""
    usual = seconds(finished())  # the first also reads the catalogue
    usual = min(usual, seconds(finished()))
    assert seconds(HOSTILE) < 5 * usual


def test_a_longer_text_than_any_stays_as_it_is() -> None:
    text = "The content type is " + "a" * 1980
    assert told(text, "zh") != text
    assert told(f"{text}b", "zh") == f"{text}b"
    assert max(map(len, finished())) < 2000


def seconds(texts: list[str]) -> float:
    began = process_time()
    for text in texts:
        told(text, "zh")
    return process_time() - began
