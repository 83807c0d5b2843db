"""Watched services and their processes send their metrics to a real receiver, each count once."""

import os
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from fastapi import FastAPI

from safelight import watch
from safelight.errors import BadSetting, MissingExtra
from safelight.metrics.catalog import HTTP_REQUESTS, PROBE_FAILURES, REQUESTS
from safelight.metrics.registry import Meter
from safelight.models.extras import LIBRARIES
from safelight.probes.pushing import Pushing
from safelight.settings import load
from safelight.stories.replay import free_port
from tests.metrics.processes.servers import SERVERS, serving, wait_until
from tests.probes.web import ask
from tests.reading import value
from tests.telemetry.receiver import (
    RECEIVERS,
    Receiver,
    http_receiver,
    metrics_of,
    resource_of,
    samples_of,
)

REQUESTS_SENT = 40


def push_to(url: str, monkeypatch: pytest.MonkeyPatch, **choices: str) -> None:
    settings = {"endpoint": url, "metrics_seconds": "1", **choices}
    for name, text in settings.items():
        monkeypatch.setenv(f"SAFELIGHT_OTLP_{name.upper()}", text)


def requests_in(request: Any) -> float:
    """Return the HTTP requests that one sending has counted."""
    sent = samples_of(request).items()
    return sum(value for (name, _), value in sent if name == HTTP_REQUESTS.name)


def instances(sink: Receiver) -> Counter[str]:
    return Counter(resource_of(each)["service.instance.id"] for each in sink.metrics)


@pytest.mark.parametrize("name", SERVERS)
def test_all_workers_of_a_server_send_together_each_request_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver() as sink:
        push_to(sink.url, monkeypatch, temporality="delta")
        with serving(tmp_path, name) as server:
            sent = server.ask_both()
            wait_until(lambda: sum(map(requests_in, sink.metrics)) == sent)
            more = server.ask_both()
            server.settle(sent + more)
            server.stop()
        assert sum(map(requests_in, sink.metrics)) == sent + more
        assert len(instances(sink)) == 1


def test_the_requests_of_a_killed_worker_are_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver() as sink:
        push_to(sink.url, monkeypatch, temporality="delta")
        with serving(tmp_path, "sync") as server:
            server.ask("/hello", REQUESTS_SENT)
            server.settle(REQUESTS_SENT)
            killed = server.workers()[0]
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: len(set(server.workers()) - {killed}) == 2)
            server.ask("/hello", 10)
            wait_until(lambda: sum(map(requests_in, sink.metrics)) == REQUESTS_SENT + 10)
            server.stop()
        assert sum(map(requests_in, sink.metrics)) == REQUESTS_SENT + 10


def test_workers_take_turns_and_send_about_once_an_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver() as sink:
        push_to(sink.url, monkeypatch)
        with serving(tmp_path, "sync") as server:
            server.ask("/hello", REQUESTS_SENT)
            wait_until(lambda: len(sink.metrics) >= 4)
            server.stop()
        ends = [
            metrics_of(each)[HTTP_REQUESTS.name].sum.data_points[0].time_unix_nano / 1e9
            for each in sink.metrics[:4]
        ]
        assert all(later - before > 0.8 for before, later in pairwise(ends))
        assert requests_in(sink.metrics[-1]) == REQUESTS_SENT


@pytest.mark.parametrize("protocol", RECEIVERS)
@pytest.mark.parametrize("ends", ["watched.unwatch()", "", "app = watched = None"])
def test_a_script_sends_what_it_counted_at_its_end(
    protocol: str, ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "script.py"
    program.write_text(
        "import safelight\nfrom fastapi import FastAPI\n"
        "watched = safelight.watch(app=(app := FastAPI()))\n"
        "with safelight.inference('painter'):\n    pass\n" + ends
    )
    with RECEIVERS[protocol]() as sink:
        push_to(sink.url, monkeypatch, protocol=protocol, metrics_seconds="3600")
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        found = samples_of(sink.metrics[-1])
    name = REQUESTS.full_name("diffusion")
    assert [number for (each, _), number in found.items() if each == name] == [1]


def test_a_receiver_that_is_absent_is_counted_and_no_request_notices(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    push_to(f"http://127.0.0.1:{free_port()}", monkeypatch)
    app = FastAPI()
    app.get("/hello")(lambda: "hello")
    with watch(app=app) as watched:
        wait_until(lambda: value(watched, PROBE_FAILURES, probe="otlp") >= 2)
        assert ask(app, "/hello").json() == "hello"
    assert caplog.text.count("metrics cannot be sent") == 1
    assert "Connection refused" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_second_watch_of_one_application_does_not_send_twice(
    monkeypatch: pytest.MonkeyPatch, edit_pipe: Any
) -> None:
    with http_receiver() as sink:
        push_to(sink.url, monkeypatch, metrics_seconds="3600")
        app = FastAPI()
        first, second = (
            watch(app=app, namespace="pix"),
            watch(app=app, pipeline=edit_pipe, namespace="pix"),
        )
        second.unwatch()
        assert sink.metrics == []
        first.unwatch()
        assert len(sink.metrics) >= 1
        assert len(instances(sink)) == 1


def test_an_interval_without_a_receiver_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_OTLP_METRICS_SECONDS", "60")
    with pytest.raises(BadSetting, match="also needs SAFELIGHT_OTLP_ENDPOINT"):
        watch(app=FastAPI())


def test_without_opentelemetry_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push_to("http://127.0.0.1:4318", monkeypatch)
    for library in LIBRARIES["tracing"]:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'safelight\[tracing\]'"):
        watch(app=FastAPI())


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_an_end_sends_once_and_again_only_if_more_was_counted(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RECEIVERS[protocol]() as sink:
        push_to(sink.url, monkeypatch, protocol=protocol, metrics_seconds="3600")
        watched = watch(app=FastAPI())
        watched.meter.membership.leave()
        watched.meter.membership.leave()
        assert len(sink.metrics) == 1
        watched.meter.add(HTTP_REQUESTS, "/", "GET", "200")
        watched.meter.membership.leave()
        watched.unwatch()
        assert list(map(requests_in, sink.metrics)) == [0, 1]


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_a_service_ends_within_three_seconds_while_the_receiver_is_silent(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RECEIVERS[protocol]() as sink:
        push_to(sink.url, monkeypatch, protocol=protocol)
        sink.answering.clear()
        meter = Meter("pix")
        pushing = Pushing(meter, load())
        wait_until(lambda: sink.asked > 0)
        begun = monotonic()
        meter.membership.leave()
        pushing.stop()
        pushing.finish()
        assert monotonic() - begun < 3
        sink.answering.set()


def test_a_fork_does_not_wait_for_a_silent_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as sink:
        push_to(sink.url, monkeypatch)
        sink.answering.clear()
        pushing = Pushing(Meter("pix"), load())
        wait_until(lambda: sink.asked > 0)
        begun = monotonic()
        child = os.fork()
        if child == 0:
            os._exit(0)
        took = monotonic() - begun
        os.waitpid(child, 0)
        sink.answering.set()
        pushing.stop()
    assert took < 0.5
