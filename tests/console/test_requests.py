"""The page Requests, over real records: filters, one request in full, and who may see what."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.records.rows import Origin, Rating
from safelight.serving.http.keys import hashed
from safelight.stack.tools.samples import photo
from safelight.stories.replay import free_port
from tests.console.browsing import SLOW, opened
from tests.console.running import console
from tests.records.making import FakeClock, a_counterpart, a_record, a_store, an_assessment
from tests.serving.conftest import RealService, serving
from tests.stack.waiting import eventually

HOSTILE = "<img src=x onerror=\"document.title='owned'\"> </script><b>老</b>"
FAILING, GOOD = "r000033", "r000034"
OPERATING, VIEWING = "sl-operators-key", "sl-viewers-key"
COUNT = 120


def write_records(url: str, now: float) -> None:
    """Write requests a second apart with hostile prompts; one of eleven failed."""
    clock = FakeClock()
    store, _ = a_store(url, clock, samples=True, origin=Origin("tests", "m", store_prompts=True))
    for number in range(COUNT):
        clock.now = now - COUNT + number
        failed = number % 11 == 0
        name, kind = f"r{number:06}", "change_background" if number % 3 else "make_him_old"
        store.write(
            a_record(
                name,
                instruction_type=kind,
                status_code=503 if failed else 200,
                error="timeout" if failed else "none",
                seconds=9.0 if failed else 1.0 + number / 1000,
                stages={"queue": 8.0 if failed else 0.1, "denoise": 0.9},
                prompt=HOSTILE,
                seed=2**63 - 1 - number,
            )
        )
        images = {"before": photo(64, 64), "after": b"<svg onload=alert(1)>"}
        found = an_assessment(name, instruction_type=kind, **(images if number == 34 else {}))
        store.assess(found)
        if number == 34:
            store.rate(Rating(name, kind, 2, "artifacts"))
            measures = {"latency": 1.25, "score": -0.031, "image_difference": 0.2}
            store.compare(
                a_counterpart(name, model=HOSTILE, measures=measures, image=images["before"])
            )
        store.step()
    store.close()


def write_log(folder: Path, at: float) -> None:
    folder.mkdir(parents=True)
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"@timestamp": when, "log.level": "warning", "message": f"request failed {HOSTILE}"}
    line["http.request.id"] = FAILING
    (folder / "safelight.log").write_text(json.dumps(line) + "\n")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the options of a console that has records and a log, and no Prometheus."""
    folder, now = tmp_path_factory.mktemp("state"), time.time()
    url = f"sqlite:///{folder / 'records.db'}"
    write_records(url, now)
    write_log(folder / "logs", now - COUNT + 33)
    nobody = f"http://127.0.0.1:{free_port()}"
    return ("--records-url", url, "--state-folder", str(folder), "--prometheus", nobody)


@pytest.fixture(scope="module")
def address(sources: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with console(tmp_path_factory.mktemp("console"), *sources) as url:
        yield url


def ask(address: str, path: str, **query: str | float) -> httpx.Response:
    return httpx.get(f"{address}/data/requests{path}", params=query, timeout=30)


def test_the_newest_are_first_and_the_next_page_goes_on(address: str) -> None:
    first = ask(address, "").json()
    assert [row["request_id"] for row in first["rows"][:2]] == ["r000119", "r000118"]
    names = [row["request_id"] for row in first["rows"]]
    while first["next"]:
        first = ask(address, "", after=first["next"]).json()
        names += [row["request_id"] for row in first["rows"]]
    assert names == [f"r{n:06}" for n in range(COUNT - 1, -1, -1)]


def test_filters_are_joined(address: str) -> None:
    rows = ask(address, "", type="make_him_old", result="timeout", slower=5).json()["rows"]
    assert [row["request_id"] for row in rows] == ["r000099", "r000066", "r000033", "r000000"]
    [row] = ask(address, "", rating="2").json()["rows"]
    assert row["request_id"] == GOOD


def test_a_seed_of_63_bits_keeps_its_last_digit(address: str) -> None:
    seed = str(2**63 - 1 - 5)
    [row] = ask(address, "", seed=seed).json()["rows"]
    assert row["seed"] == seed


@pytest.mark.parametrize(
    "query",
    [
        {"result": "<b>"},
        {"slower": "nan"},
        {"slower": "-1"},
        {"rating": "6"},
        {"size": "512"},
        {"seed": "x"},
        {"seed": str(2**64)},
        {"after": "x~y"},
        {"seconds": "1e400"},
        {"type": "x" * 41},
        {"unknown": "1"},
    ],
    ids=str,
)
def test_a_filter_that_makes_no_sense_is_refused_in_words(
    address: str, query: dict[str, str]
) -> None:
    answer = ask(address, "", **query)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "invalid_parameter"
    assert len(answer.json()["detail"]) > 10


def test_one_request_comes_with_all_that_is_known(address: str) -> None:
    found = ask(address, f"/{FAILING}").json()
    assert found["record"]["error"] == "timeout"
    assert found["record"]["prompt"] == HOSTILE
    assert found["usual"] == {"queue": 0.1, "denoise": 0.9}
    assert found["images"] == {"before": False, "after": False, "second": False}
    assert "second_model" not in found["record"]
    [line] = found["log"]
    assert line["http.request.id"] == FAILING


def test_a_compared_request_comes_with_its_pair_and_the_second_models_image(address: str) -> None:
    found = ask(address, f"/{GOOD}").json()
    assert found["record"]["second_model"] == HOSTILE
    assert found["record"]["second_measures"]["latency"] == 1.25
    assert found["images"]["second"]
    image = ask(address, f"/{GOOD}/second")
    assert image.headers["content-type"] == "image/jpeg"
    assert image.headers["cache-control"] == "no-store"
    assert ask(address, f"/{FAILING}/second").status_code == 404


def test_failed_and_good_ones_are_beside_it(address: str) -> None:
    found = ask(address, f"/{FAILING}/beside").json()
    assert {row["error"] for row in found["failed"]} == {"timeout"}
    assert {row["error"] for row in found["good"]} == {"none"}
    assert {row["instruction_type"] for row in found["failed"] + found["good"]} == {"make_him_old"}


def test_an_image_is_sent_as_one_and_nothing_else_is(address: str) -> None:
    before = ask(address, f"/{GOOD}/before")
    assert before.headers["content-type"] == "image/jpeg"
    assert before.headers["x-content-type-options"] == "nosniff"
    assert ask(address, f"/{GOOD}/after").status_code == 404  # a document that runs code
    assert ask(address, f"/{FAILING}/before").status_code == 404


@pytest.mark.parametrize("name", ["none", "%00", "..%2Frecords.db", "x" * 300, "'%20OR%201=1"])
def test_a_request_that_is_not_there_is_said(address: str, name: str) -> None:
    for path in ("", "/beside", "/before"):
        answer = ask(address, f"/{name}{path}")
        assert answer.status_code in {404, 422}, answer.text


def test_prompts_and_images_are_for_operators(
    sources: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = f"anna:operate={hashed(OPERATING)},ben:view={hashed(VIEWING)}"
    monkeypatch.setenv("SAFELIGHT_API_KEYS", keys)
    with console(tmp_path, *sources) as url:
        assert ask(url, "").status_code == 401
        for key, sees in ((VIEWING, False), (OPERATING, True)):
            with httpx.Client(base_url=f"{url}/data", timeout=30) as viewer:
                viewer.post("/session", content=key).raise_for_status()
                record = viewer.get(f"/requests/{GOOD}").json()["record"]
                assert ("prompt" in record) is sees
                for name in ("before", "second"):
                    image = viewer.get(f"/requests/{GOOD}/{name}")
                    assert image.status_code == (200 if sees else 403)


def test_records_that_are_absent_are_said_and_the_console_stays(tmp_path: Path) -> None:
    with console(tmp_path, "--records-url", f"sqlite:///{tmp_path / 'none.db'}") as url:
        answer = ask(url, "")
        assert answer.status_code >= 500
        assert "none.db" in answer.json()["detail"]
        assert httpx.get(f"{url}/requests").is_success


# ── In the browser ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def test_a_filter_is_in_the_address_and_back_undoes_it(page: Page) -> None:
    page.goto("/requests")
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(50, timeout=SLOW)
    page.get_by_role("combobox", name="Result").select_option("failed")
    expect(rows).to_have_count(11)
    assert "result=failed" in page.url
    page.get_by_role("combobox", name="Type").select_option("make_him_old")
    expect(rows).to_have_count(4)
    page.reload()
    expect(rows).to_have_count(4, timeout=SLOW)
    page.go_back()
    expect(rows).to_have_count(11)
    page.get_by_role("button", name="Clear").click()
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Older").click()
    page.wait_for_url("**after=*")
    expect(page.get_by_role("button", name="Newer")).to_be_visible(timeout=SLOW)


def test_a_request_is_shown_in_full_and_hostile_text_stays_text(page: Page) -> None:
    page.goto(f"/requests/{FAILING}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        "503 timeout after 9", timeout=SLOW
    )
    expect(page.locator(".facts q")).to_have_text(HOSTILE)
    stages = page.get_by_role("region", name="Stages")
    expect(stages.locator("tr", has_text="queue")).to_contain_text("80.0 times")
    expect(page.get_by_role("region", name="Log")).to_contain_text("request failed <img")
    expect(page.locator("table.beside .group")).to_have_count(3)
    assert page.locator("#page img[src=x]").count() == 0
    assert page.title() == "Request · Safelight"


def test_an_image_that_cannot_be_shown_is_said(chromium: Browser, address: str) -> None:
    context = chromium.new_context(base_url=address)  # a failed image is an error of the browser
    page = context.new_page()
    page.goto(f"/requests/{GOOD}")
    images = page.get_by_role("region", name="Images")
    expect(images.get_by_alt_text("The image before the edit")).to_be_visible(timeout=SLOW)
    expect(images).to_contain_text("cannot be shown", timeout=SLOW)
    context.close()


def test_the_second_models_image_and_values_are_beside_those_of_the_first(
    chromium: Browser, address: str
) -> None:
    context = chromium.new_context(base_url=address)  # the image after is none: an error
    page = context.new_page()
    page.goto(f"/requests/{GOOD}")
    images = page.get_by_role("region", name="Images")
    expect(images.get_by_alt_text("The second model's image")).to_be_visible(timeout=SLOW)
    expect(images.locator("figcaption").last).to_have_text("After, by the second model")
    pair = page.get_by_role("region", name="Compared with the second model")
    expect(pair).to_contain_text(HOSTILE)
    expect(pair).to_contain_text("1.25 times that of the served model")
    expect(pair).to_contain_text("-3.1 points of 100")
    page.goto(f"/requests/{FAILING}")
    expect(page.get_by_role("region", name="Stages")).to_be_visible(timeout=SLOW)
    expect(pair).to_have_count(0)
    context.close()


def test_a_request_that_was_deleted_meanwhile_is_said(chromium: Browser, address: str) -> None:
    context = chromium.new_context(base_url=address)
    page = context.new_page()
    page.goto("/requests/r999999")
    expect(page.get_by_text("There is no such request")).to_be_visible(timeout=SLOW)
    context.close()


# ── Beside a real service ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RealService]:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with serving(tmp_path, "tests.serving.models:painter", records_url=url, samples="1") as service:
        yield service


def test_an_edit_is_rated_found_again_by_its_rating_and_deleted(
    service: RealService, tmp_path: Path, chromium: Browser
) -> None:
    edited = service.edit(seed=7).headers["x-request-id"]
    service.edit(seed=8)
    rated = service.client.post(f"/v1/requests/{edited}/rating", json={"rating": 4})
    assert rated.is_success, rated.text
    url = f"sqlite:///{tmp_path / 'records.db'}"
    options = ("--records-url", url, "--service", service.url)
    (tmp_path / "console").mkdir()
    with console(tmp_path / "console", *options) as at, opened(chromium, at) as page:
        eventually(lambda: ask(at, "", rating="4").json()["rows"], within=30, what="the rating")
        page.goto("/requests")
        rows = page.locator("table tbody tr")
        expect(rows).to_have_count(2, timeout=SLOW)
        page.get_by_role("combobox", name="Rating").select_option("4")
        expect(rows).to_have_count(1)
        rows.first.get_by_role("link").click()
        expect(page.locator("#page")).to_contain_text(edited, timeout=SLOW)
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Requests", timeout=SLOW)
    assert service.client.delete(f"/v1/requests/{edited}/record").status_code == 404
