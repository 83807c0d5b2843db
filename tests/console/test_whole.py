"""The console beside a real service that a real Prometheus scrapes: from traffic to one request."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.rules.uids import REQUEST
from safelight.stories.replay import replay
from tests.console.browsing import SLOW, opened
from tests.console.running import console
from tests.serving.conftest import serving
from tests.stack.waiting import eventually

GRAFANA = "http://127.0.0.1:3000"
CONFIG = """
scrape_configs:
  - job_name: safelight
    scrape_interval: 1s
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("whole")
    url = f"sqlite:///{folder / 'records.db'}"
    with serving(folder, records_url=url, samples="1", log_output=str(folder / "log.json")) as own:
        config = CONFIG.format(target=own.url.removeprefix("http://"))
        with replay(folder, config) as prometheus:
            options = ("--prometheus", prometheus.url, "--service", own.url, "--records-url", url)
            with console(folder / "console", *options, "--grafana", GRAFANA) as at:
                yield at


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def test_demo_traffic_is_seen_down_to_one_request(page: Page, address: str) -> None:
    page.goto("/")
    page.get_by_role("button", name="Send a minute of demo traffic to demo-edit").click()
    expect(page.get_by_text("Up to 60 requests in 1 min are on their way.")).to_be_visible(
        timeout=SLOW
    )
    again = httpx.post(f"{address}/data/demo", json={"service": 0}, timeout=30)
    assert again.status_code == 503
    assert "runs already" in again.json()["detail"]

    def has_images() -> bool:
        return len(httpx.get(f"{address}/data/latest", timeout=30).json()) >= 3

    eventually(has_images, within=60, what="three edits with images")
    page.reload()
    images = page.get_by_role("region", name="safelight").locator(".latest img")
    expect(images.nth(2)).to_be_visible(timeout=SLOW)

    page.goto(f"/dashboards/{REQUEST}?seconds=900&refresh=5")
    slowest = page.locator(".links", has_text="Slowest requests").first
    expect(slowest).to_be_visible(timeout=SLOW)
    link = page.get_by_role("link", name="Open in Grafana")
    assert str(link.get_attribute("href")).startswith(f"{GRAFANA}/d/{REQUEST}?from=now-900s")
    slowest.get_by_role("link").first.click()
    expect(page.get_by_role("region", name="Stages")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("heading", level=1)).to_contain_text("200 ok")


def test_a_dot_on_a_curve_opens_its_request(page: Page) -> None:
    page.goto(f"/dashboards/{REQUEST}?seconds=900&refresh=0")
    panel = page.locator(".panel", has=page.locator(".links")).first
    expect(panel.locator("canvas").first).to_be_visible(timeout=SLOW)
    page.wait_for_load_state("networkidle")  # nothing is drawn any more
    place = panel.locator(".plot").evaluate(
        """node => {
          const chart = echarts.getInstanceByDom(node);
          const series = chart.getOption().series.findIndex((each) => each.type === "scatter");
          const { value } = chart.getOption().series[series].data[0];
          const box = node.getBoundingClientRect();
          const [x, y] = chart.convertToPixel({ seriesIndex: series }, value);
          return [box.left + x, box.top + y];
        }"""
    )
    page.mouse.click(*place)
    expect(page.get_by_role("region", name="Stages")).to_be_visible(timeout=SLOW)
