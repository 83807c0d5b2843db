"""The page Health report, beside a real Prometheus with a service whose edits of one type fail."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.console.choices import Span
from safelight.console.report import Report, unit_of
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.metrics.buckets import STEP_PLACES
from safelight.rules.thresholds import Thresholds
from safelight.stories.replay import free_port
from tests.console.browsing import SLOW, opened
from tests.console.conftest import FAILING
from tests.console.running import console
from tests.diagnosis.test_checks import slow_at_first


def ask(address: str, path: str = "", **query: str | float) -> httpx.Response:
    return httpx.get(f"{address}/data/report{path}", params=query, timeout=60)


def test_the_finding_comes_with_the_very_series_that_show_it(
    address: str, past: Prometheus
) -> None:
    found = ask(address).json()
    first, curves = found["report"]["findings"][0], found["curves"][0]
    assert FAILING in f"{first['title']} {first['evidence']}"
    drawn = [(each, curve) for each, curve in zip(first["evidence"], curves, strict=True) if curve]
    for exhibit, curve in drawn:
        assert not curve["problem"]
        at, value = curve["lines"][0]["points"][-1]
        series = past.instant(exhibit["query"], at)
        assert any(each.value == pytest.approx(value) for each in series)
    names = {line["name"] for _, curve in drawn for line in curve["lines"] if line["is_subject"]}
    assert names == {FAILING}


def test_a_finding_has_the_limit_that_its_values_are_compared_with(address: str) -> None:
    found = ask(address).json()
    titles = [each["title"] for each in found["report"]["findings"]]
    [curve, *_] = found["curves"][titles.index("One instruction type fails")]
    assert curve["limit"] == Thresholds().instruction_success_ratio
    assert curve["unit"] == "percentunit"


def test_a_report_can_be_of_any_time_in_the_past(address: str, past: Prometheus) -> None:
    at = past.now() - 3600
    found = ask(address, at=at).json()
    assert found["moment"] == pytest.approx(at)
    assert found["begin"] < at < found["end"] <= past.now() + 60
    assert found["report"]["findings"]


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ({"at": 4_000_000_000}, 422, "future"),
        ({"at": "nan"}, 422, "at"),
        ({"at": 1}, 422, "no Safelight metrics of 1970-01-01"),
        ({"namespace": "A b"}, 422, "namespace"),
        ({"job": "nobody"}, 404, "service"),
        ({"more": "1"}, 422, "more"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_in_words(
    address: str, query: dict[str, float], status: int, says: str
) -> None:
    for path in ("", "/trends", "/page"):
        answer = ask(address, path, **query)
        assert answer.status_code == status, answer.text
        assert says in answer.json()["detail"]


def test_forecasts_have_their_intervals_in_order(address: str) -> None:
    for each in ask(address).json()["forecasts"]:
        if each["ends"]:
            expected, soonest, last = each["ends"]
            assert soonest <= expected <= last


def test_the_report_is_one_file_that_needs_nothing_else(address: str) -> None:
    answer = ask(address, "/page")
    assert "attachment" in answer.headers["content-disposition"]
    assert FAILING in answer.text
    assert not re.search(r"<(script|img|link)[^>]+(src|href)=[\"']?https?:", answer.text)


def test_the_report_is_written_in_the_language_that_is_asked_for(address: str) -> None:
    text = ask(address, "/page", language="zh").text
    assert '<html lang="zh">' in text
    assert "编辑毁坏了应当保留的部分" in text
    assert "Edits destroy" not in text
    assert ask(address, "/page", language="xx").status_code == 422


def test_a_prometheus_that_is_gone_is_said(tmp_path: Path) -> None:
    with console(tmp_path, "--prometheus", f"http://127.0.0.1:{free_port()}") as url:
        answer = ask(url)
        assert answer.status_code == 502
        assert "Prometheus" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "values", "unit"),
    [
        ("histogram_quantile(0.95, sum by (le) (rate(x_seconds_bucket[5m])))", (3.0,), "s"),
        ("sum(rate(x_total[5m]))", (9.0,), "ops"),
        ("sum(rate(x_total[5m])) / sum(rate(y_total[5m]))", (0.5,), "percentunit"),
        ("x_used_ratio", (0.5,), "percentunit"),
        ("process_resident_memory_bytes", (1e9,), "bytes"),
        ("x_queue_depth", (4.0,), "short"),
    ],
)
def test_a_curve_has_the_unit_that_its_names_tell(
    query: str, values: tuple[float, ...], unit: str
) -> None:
    assert unit_of(query, [Series({}, tuple(enumerate(values)))]) == unit


# ── In the browser ───────────────────────────────────────────────────────────────────────────────


def test_the_curves_of_steps_are_in_the_order_of_their_positions() -> None:
    rows = [{"metric": {"step": each}, "values": [[0, "1"]]} for each in sorted(STEP_PLACES)]
    content = {"status": "success", "data": {"resultType": "matrix", "result": rows}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=content))
    finding = slow_at_first()
    with Prometheus("http://prometheus", transport=transport) as prometheus:
        report = Report(prometheus, lambda _: Thresholds())
        curve = report._curve(finding, finding.sign.exhibits[0], Span(0.0, 60.0, 60))
    assert [line.name for line in curve.lines] == list(STEP_PLACES)


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def test_the_finding_is_drawn_with_its_moment_and_its_limit(page: Page) -> None:
    page.goto("/report")
    finding = page.get_by_role("article", name="One instruction type fails")
    finding.locator("summary").click(timeout=SLOW)
    expect(finding).to_contain_text(FAILING)
    chart = finding.locator(".evidence-chart .plot").first
    expect(chart.locator("canvas")).to_be_visible(timeout=SLOW)
    drawn = chart.evaluate(
        """node => {
          const [series] = echarts.getInstanceByDom(node).getOption().series;
          return { points: series.data.length, marks: series.markLine.data.map(Object.keys) };
        }"""
    )
    assert drawn["points"] > 10
    assert {"xAxis", "yAxis"} <= {name for mark in drawn["marks"] for name in mark}
    name = chart.get_attribute("aria-label")
    assert name is not None
    assert "At the moment:" in name


def test_a_cause_is_open_and_what_follows_from_it_is_closed(page: Page) -> None:
    page.goto("/report")
    cause = page.get_by_role("article", name="Edits destroy parts that they should keep")
    expect(cause.get_by_text("Raise image_guidance_scale")).to_be_visible(timeout=SLOW)
    effect = page.get_by_role("article", name="One instruction type fails")
    expect(effect.get_by_text("To confirm")).to_be_hidden()
    effect.locator("summary").press("Enter")
    expect(effect.get_by_text("Follows from: Edits destroy parts that")).to_be_visible()
    expect(page.locator("article").last).to_have_attribute(
        "aria-label", "One instruction type fails"
    )


def test_code_in_a_text_is_shown_as_code_and_times_in_the_zone_of_the_browser(page: Page) -> None:
    page.goto("/report")
    expect(page.locator("code", has_text="remove background")).to_be_visible(timeout=SLOW)
    nodes = page.evaluate(
        """async () => {
          const { sentence } = await import("/static/prose.js");
          return sentence("since 2026-01-02T03:04:05Z (`x`)").map(
            (node) => node.title ?? node.textContent ?? node);
        }"""
    )
    assert nodes == ["Since ", "2026-01-02 03:04:05 UTC", " (", "", ")."]


def test_an_earlier_time_is_in_the_address_and_now_returns(page: Page) -> None:
    page.goto("/report")
    expect(page.locator("article").first).to_be_visible(timeout=SLOW)
    field = page.get_by_label("As of")
    hour_ago = page.evaluate(
        """() => {
          const at = new Date(Date.now() - 3_600_000);
          return new Date(at - 60_000 * at.getTimezoneOffset()).toISOString().slice(0, 19);
        }"""
    )
    field.fill(hour_ago)
    expect(page.get_by_text("in the past")).to_be_visible(timeout=SLOW)
    assert "at=" in page.url
    page.get_by_role("button", name="Now", exact=True).click()
    expect(page.get_by_text("in the past")).to_have_count(0, timeout=SLOW)
    assert "at=" not in page.url


def test_the_report_is_saved_as_one_file(page: Page, tmp_path: Path) -> None:
    page.goto("/report")
    expect(page.locator("article").first).to_be_visible(timeout=SLOW)
    with page.expect_download() as saving:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "report.html"
    saving.value.save_as(file)
    assert FAILING in file.read_text()
    assert saving.value.suggested_filename.startswith("health-report-")
