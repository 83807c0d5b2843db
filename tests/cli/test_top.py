import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import chain, repeat

import pytest
from rich.console import Console
from rich.segment import Segment

from safelight.cli.screen import screen
from safelight.metrics.catalog import BUILD_INFO, MODEL_INFO, REQUEST_SECONDS, REQUESTS, STAGES
from safelight.metrics.registry import Meter
from safelight.stack.tools.view import Engine, Gpu, View
from tests.cli.conftest import Call
from tests.stack.waiting import free_ports

URL = "http://127.0.0.1:8000"
GIB = 1024**3
BUSY = View(
    model="demo-edit · float32 on cpu",
    seconds=20.2,
    workers_ready=1,
    worker_restarts=2,
    requests_per_second=2.4,
    recent_rates=(0.0, 1.0, 2.0, 4.0),
    failures={"overloaded": 0.25, "timeout": 0.1},
    latency_seconds=(0.412, 1.2, None),
    queued_seconds=0.12,
    engine=Engine(
        batch_mean=6.5,
        batch_limit=16,
        batch_sizes={"1": 1, "5-6": 2, "7-8": 1},
        work_seconds=1.5,
        device_shares={"useful": 0.9, "cancelled": 0.1},
        degradation_level=2,
        circuit_open=1,
        refused={"too_late": 0.5},
    ),
    stage_shares={"queue": 0.445, "denoise": 0.5, "encode": 0.05, "respond": 0.005},
    step_seconds={"1-5": 0.04, "6-10": 0.02},
    steps_per_second=18.34,
    queue_depth=3,
    in_flight=4,
    vram={"cuda:0": (9.1 * GIB, 11.2 * GIB)},
    gpus=(Gpu("0", 0.7, 10.2 * GIB, 78 * GIB, 61), Gpu("1", None, 1.0, None, None)),
    cpu_ratio=0.37,
    memory=(1.2 * GIB, 23.5 * GIB),
)
IDLE = replace(
    BUSY,
    engine=None,
    worker_restarts=0,
    recent_rates=(0.0,),
    requests_per_second=0,
    failures={},
    latency_seconds=(None, None, None),
    queued_seconds=None,
    stage_shares={},
    step_seconds={},
    steps_per_second=0,
    vram={},
    gpus=(),
    cpu_ratio=None,
    memory=None,
    seconds=0.0,
)


def drawn(view: View, width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(screen(view, URL, width))
    return captured.get().splitlines()


def row(view: View, name: str) -> str:
    """Return the content of the row with this name."""
    [line] = [line for line in drawn(view) if line[2:].startswith(name)]
    return line.strip("│ ").removeprefix(name).strip()


# ── The screen ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("width", [60, 80, 81, 100, 132, 200])
@pytest.mark.parametrize("view", [BUSY, IDLE], ids=["busy", "idle"])
def test_every_line_is_as_wide_as_the_terminal(view: View, width: int) -> None:
    assert {len(line) for line in drawn(view, width)} == {width}


def test_a_busy_screen_fits_a_terminal_of_24_lines() -> None:
    assert len(drawn(BUSY)) <= 24


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("model", "demo-edit · float32 on cpu · ● 1 worker ready · 2 restarted"),
        ("requests", "2.40/s    ▁▃▅█"),
        ("failed", "overloaded 0.25/s   timeout 0.10/s"),
        ("latency", "P50 412 ms   P95 1.2 s   P99 -"),
        ("queue", "3 waiting   4 in flight   wait P95 120 ms"),
        (
            "batches",
            "mean 6.5   limit 16   1\u00a025\u00a0%   5-6\u00a050\u00a0%   7-8\u00a025\u00a0%",
        ),
        ("device", "1.5 s of work waiting   useful 90 %   cancelled 10 %"),
        ("level", "level 2: smaller_batches, admit_less   circuit open"),
        ("refused", "too_late 0.50/s"),
        ("steps", "18.3/s"),
        ("CPU", "━━━━━━━━━━━━━━━━━━━━━━━━  37 %"),
        ("memory", "━━━━━━━━━━━━━━━━━━━━━━━━  1.2 of 23.5 GiB"),
        ("VRAM cuda", "9.1 GiB used, peak 11.2 GiB"),
        ("GPU 0", "━━━━━━━━━━━━━━━━━━━━━━━━  70 %  10.2 of 78 GiB  61 °C"),
    ],
)
def test_each_row_shows_its_values(name: str, shown: str) -> None:
    assert row(BUSY, name) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("requests", "0.00/s"),
        ("latency", "P50 -   P95 -   P99 -"),
        ("stages", "no request ended in this time"),
    ],
)
def test_an_idle_service_has_empty_rows(name: str, shown: str) -> None:
    assert row(IDLE, name) == shown


def test_a_missing_measurement_has_no_row() -> None:
    text = "\n".join(drawn(IDLE))
    assert not [name for name in ("failed", "CPU", "memory", "VRAM", "GPU") if name in text]


def test_a_loading_service_shows_no_ready_workers() -> None:
    assert "○ 0 workers ready" in row(replace(IDLE, workers_ready=0), "model")
    assert "worker" not in row(replace(IDLE, workers_ready=None), "model")


def test_a_model_that_sleeps_says_so_and_not_that_no_worker_is_ready() -> None:
    shown = row(replace(IDLE, workers_ready=0, sleeps=True), "model")
    assert "○ sleeps until the next request" in shown
    assert "worker" not in shown


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_stages_fill_one_bar_by_their_shares(width: int) -> None:
    [bar] = [line for line in drawn(BUSY, width) if "stages" in line]
    inner = width - 4 - 9 - 2
    assert bar.count("█") == inner
    segments = Console(width=width).render(screen(BUSY, URL, width))
    queue = [text for text, style, _ in segments if "█" in text and _coloured(style, "yellow")]
    assert len(queue[0]) == round(0.445 * inner)


def _coloured(style: object, colour: str) -> bool:
    return getattr(getattr(style, "color", None), "name", None) == colour


def test_every_stage_has_a_colour_of_its_own() -> None:
    shares = {stage: 1 / len(STAGES) for stage in STAGES}
    segments = Console(width=120).render(screen(replace(BUSY, stage_shares=shares), URL, 120))
    bars = [segment for segment in Segment.split_lines(segments) if _has(segment, "stages")]
    colours = {str(style.color) for text, style, _ in bars[0] if "█" in text and style}
    assert len(colours) == len(STAGES)


def _has(line: list[Segment], word: str) -> bool:
    return any(word in segment.text for segment in line)


def test_the_legend_lists_the_largest_stage_first() -> None:
    text = "\n".join(drawn(BUSY)).replace("\u00a0", "_")
    assert "■_denoise_50_%  ■_queue_44_%" in text
    assert "■_encode_5.0_%" in text
    assert "respond" not in text  # below the smallest share of the legend


def test_steps_are_bars_against_the_slowest() -> None:
    console = Console(width=80)
    segments = list(console.render(screen(BUSY, URL, 80)))
    filled = [len(text) for text, style, _ in segments if "━" in text and _coloured(style, "green")]
    assert 24 in filled
    assert 12 in filled


def test_a_model_name_is_not_markup() -> None:
    assert "[red]x[/red]" in row(replace(BUSY, model="[red]x[/red]"), "model")


def test_the_screen_shows_the_measured_period() -> None:
    assert "last 20 s" in drawn(BUSY)[-1]
    assert "first reading" in drawn(IDLE)[-1]


# ── The command ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def pages(*bodies: bytes | int) -> Iterator[str]:
    """Yield the address of a server whose /metrics returns these bodies in order."""
    answers = chain(bodies, repeat(bodies[-1]))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = next(answers) if self.path == "/metrics" else 404
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            self.wfile.write(b"" if isinstance(answer, int) else answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def exposition(requests: int) -> bytes:
    meter = Meter("zimage")
    meter.set(BUILD_INFO, "0", "3", value=1)
    meter.set(MODEL_INFO, "tiny", "Pipeline", "Scheduler", "float16", "cuda:0", "none", value=1)
    for _ in range(requests):
        meter.add(REQUESTS, "/generate", "200", "none", "none")
        meter.observe(REQUEST_SECONDS, "/generate", "200", "none", value=0.3)
    return meter.expose().body


QUICK = ("--interval", "0.2")


def test_once_shows_one_interval_and_ends(call: Call) -> None:
    with pages(exposition(0), exposition(20)) as url:
        answer = call("top", url, "--once", *QUICK)
    assert (answer.code, answer.err) == (0, "")
    assert "tiny · float16 on cuda:0" in answer.out
    assert "P50 375 ms" in answer.out
    assert "\x1b" not in answer.out


def test_without_a_terminal_each_reading_is_printed_until_the_service_fails(call: Call) -> None:
    with pages(exposition(0), exposition(1), exposition(2), 500) as url:
        answer = call("top", url, *QUICK)
    assert answer.out.count("tiny · float16") == 2
    assert answer.code == 1
    assert answer.line.startswith(
        f"safelight: http://{url}/metrics cannot be shown: it returned 500 Internal Server Error."
    )


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (404, "it returned 404 Not Found."),
        (b"<html>\n<body>a page</body>\n</html>\n", "it is not in Prometheus' text format."),
        (b"# TYPE go_goroutines gauge\ngo_goroutines 7\n", "it has no Safelight metrics."),
        (b"", "it has no Safelight metrics."),
    ],
)
def test_a_page_without_safelight_metrics_is_one_line(
    page: bytes | int, message: str, call: Call
) -> None:
    with pages(page) as url:
        answer = call("top", url, "--once", *QUICK)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.line


def test_a_refused_connection_is_one_line(call: Call) -> None:
    answer = call("top", f"127.0.0.1:{free_ports(1)[0]}")
    assert (answer.code, answer.out) == (1, "")
    assert "Connection refused" in answer.line


def test_an_invalid_address_is_a_bad_setting(call: Call) -> None:
    answer = call("top", "http://[::bad")
    assert answer.code == 2
    assert "is not a valid address" in answer.line
