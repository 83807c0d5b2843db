"""A target of a history in real time: its past as OpenMetrics, its present as a page to scrape."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time

from tests.histories.exposition import Target

Values = tuple[float | None, ...]
_TIMES = ("_timestamp_seconds", "_start_time_seconds")  # seconds of the history, not of the epoch


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its own labels as text, and its value at each step, None without one."""

    name: str
    labels: str
    values: Values


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a target; step 0 is at `begin`, in seconds since 1970."""

    job: str
    instance: str
    begin: int
    step_seconds: int
    up: tuple[bool, ...]
    series: tuple[Series, ...]

    def step_at(self, now: float) -> int:
        """Return the number of the step at a time; the last one stays."""
        return min(len(self.up) - 1, int(now - self.begin) // self.step_seconds)

    def exposition(self, step: int) -> str:
        """Return the page at a step, as text."""
        shown = ((each, each.values[step]) for each in self.series)
        lines = [f"{_key(one.name, one.labels)} {v!r}\n" for one, v in shown if v is not None]
        return "".join(lines)

    def past(self, begin: int, end: int) -> Iterator[str]:
        """Yield the samples from one time until before another, as lines of OpenMetrics."""
        first, last = self.step_at(begin), self.step_at(end)
        own = f'job="{self.job}",instance="{self.instance}"'
        up = Series("up", "", tuple(map(float, self.up)))
        for one in (up, *self.series):
            key = _key(one.name, f"{own},{one.labels}" if one.labels else own)
            for step, value in enumerate(one.values[first:last], first):
                if value is not None:
                    yield f"{key} {value!r} {self.begin + step * self.step_seconds}\n"


def page(target: Target, begin: int) -> Page:
    """Return the page of a target whose history begins at a time."""
    own = f'job="{target.job}", instance="{target.instance}"'
    series = []
    for key, text in target.rows.items():
        name, _, inside = key.removesuffix("}").partition("{")
        assert inside.startswith(own), key
        if name != "up":
            labels = inside.removeprefix(own).removeprefix(", ").replace('", ', '",')
            series.append(Series(name, labels, _moved(name, values(text), begin)))
    up = tuple(bool(each) for each in target.alive)
    return Page(target.job, target.instance, begin, target.grid.step_seconds, up, tuple(series))


def values(text: str) -> Values:
    """Return the values in promtool's notation of a series."""
    found: list[float | None] = []
    for token in text.split():
        if token == "stale":
            found.append(None)
        elif token.startswith("_x"):
            found += [None] * int(token[2:])
        else:
            value, _, more = token.partition("x")
            found += [float(value)] * (int(more or 0) + 1)
    return tuple(found)


def _moved(name: str, found: Values, begin: int) -> Values:
    if not name.endswith(_TIMES):
        return found
    return tuple(None if value is None else value + begin for value in found)


def _key(name: str, labels: str) -> str:
    return f"{name}{{{labels}}}" if labels else name


@contextmanager
def served(pages: Sequence[Page]) -> Iterator[int]:
    """Serve each page at its job's path until the end of the block; yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pages))
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pages: Iterable[Page]) -> type[BaseHTTPRequestHandler]:
    by_path = {f"/{each.job}": each for each in pages}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = by_path[self.path]
            step = asked.step_at(time())
            up = asked.up[step]
            body = asked.exposition(step).encode() if up else b""
            self.send_response(200 if up else 500)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
