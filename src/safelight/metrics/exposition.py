"""Write series in the formats of Prometheus, serve them, and read them back.

prometheus_client only writes the text. Its metric objects are not used: a variable of the watched
application decides whether they keep their values in files.
"""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from math import inf
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder, make_wsgi_app
from prometheus_client.metrics_core import Metric as _Family
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from safelight.metrics.metric import Metric
from safelight.metrics.series import Row, exemplars, parts, values

if TYPE_CHECKING:
    from safelight.metrics.processes.group import Snapshot

Family = _Family
_Asking = socket.socket | tuple[bytes, socket.socket]  # the second is of UDP
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_MEMORY = ("process_virtual_memory_bytes", "process_resident_memory_bytes")
_CPU, _START = "process_cpu_seconds", "process_start_time_seconds"
_CONNECTIONS, _SILENT_SECONDS = 32, 10.0  # of the server of `serve`
_OPEN, _MOST = "process_open_fds", "process_max_fds"


@dataclass(frozen=True, slots=True)
class Exposition:
    """Response to a scrape."""

    body: bytes
    content_type: str


class Scrape(Collector):
    """What a scrape reads: `collect` returns the values of this moment."""

    def __init__(self, read: Callable[[], Iterable[Family]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Family]:
        """Return all families."""
        return self._read()

    def write(self, accept: str) -> Exposition:
        """Write it in the format of an Accept header."""
        encode, content_type = choose_encoder(accept)
        # Names of the catalogue need no escaping, and this scheme is faster.
        write = cast("Callable[..., bytes]", encode)
        return Exposition(write(self, escaping=ALLOWUTF8), content_type)

    def serve(self, port: int, host: str, *, shared: bool) -> Callable[[], None]:
        """Serve it on a port, in a thread; return the function that stops it.

        If the port is shared, the other workers of a server can listen on it too.
        """
        kind = _SharedServer if shared else _Server
        application = make_wsgi_app(cast("CollectorRegistry", self))
        server = make_server(host, port, application, kind, handler_class=_Silent)
        thread = threading.Thread(
            target=server.serve_forever, name="safelight-metrics", daemon=True
        )
        thread.start()
        started_by = os.getpid()

        def stop() -> None:
            if os.getpid() == started_by:  # a forked process has the port, but not the thread
                server.shutdown()
                thread.join()
            server.server_close()

        return stop


class _Server(ThreadingMixIn, WSGIServer):
    """Serves each connection in a thread. The oldest connection makes room for a new one."""

    daemon_threads = True
    request_queue_size = 128  # five is the default, and others would wait for seconds

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)
        self._open = dict[_Asking, None]()
        self._changing = threading.Lock()

    def process_request(self, request: _Asking, client_address: object) -> None:
        """Begin a connection. Without a bound, callers could take all descriptors and threads."""
        with self._changing:
            if len(self._open) >= _CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                assert isinstance(oldest, socket.socket)
                with suppress(OSError):  # its thread reads the end, and closes it
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Asking) -> None:
        """End a connection."""
        with self._changing:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: _Asking, client_address: object) -> None:
        """Log what failed, but no caller who left or was too slow."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _SharedServer(_Server):
    allow_reuse_port = True


class _Silent(WSGIRequestHandler):
    timeout = _SILENT_SECONDS

    def log_message(self, *_: object) -> None:
        """Log nothing: the program's own output stays readable."""


def families(rows: Iterable[Row], namespace: str) -> list[Family]:
    """Return the families of these series, in the order of each metric's first series."""
    found: dict[Metric, Family] = {}
    for metric, labels, row in rows:
        family = found.get(metric)
        if family is None:
            name = metric.full_name(namespace).removesuffix("_total")
            family = found[metric] = Family(name, metric.help, metric.kind)
        name, names = metric.full_name(namespace), metric.label_names
        samples = zip(parts(metric), values(metric, row), strict=True)
        traces = chain(exemplars(metric, row), repeat(None))
        for ((suffix, edge), value), seen in zip(samples, traces, strict=False):
            pairs = dict(zip(names, labels, strict=True))
            if edge:
                pairs["le"] = edge
            exemplar = Exemplar(*seen) if seen else None
            family.samples.append(Sample(name + suffix, pairs, value, None, exemplar))
    return list(found.values())


def of_process(pid: int | str = "self") -> list[Family]:
    """Return memory, processor time and descriptors of one process."""
    return list(ProcessCollector(pid=lambda: pid, registry=None).collect())


def of_processes(snapshot: "Snapshot") -> list[Family]:
    """Return the same of all workers of a server, as if they were one process.

    Memory and processor time are summed. The descriptors are those of the process that has used the
    largest share of its limit. The start is that of the process that started the workers.
    """
    workers = {pid: _by_name(of_process(pid)) for pid in snapshot.alive}
    fullest = max(workers.values(), key=lambda found: found.get(_OPEN, 0) / found.get(_MOST, inf))
    used = {pid: found[_CPU] for pid, found in workers.items() if _CPU in found}
    supervisor = _by_name(of_process(snapshot.supervisor))
    together = {
        **{name: sum(found.get(name, 0.0) for found in workers.values()) for name in _MEMORY},
        **{name: fullest[name] for name in (_OPEN, _MOST) if name in fullest},
        **{name: start for name, start in supervisor.items() if name == _START},
        _CPU: snapshot.cpu_seconds(used),
    }
    own = of_process()
    for family in own:
        family.samples = [
            sample._replace(value=together.get(family.name, sample.value))
            for sample in family.samples
        ]
    return own


def _by_name(found: Iterable[Family]) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in found}


def parse(exposition: str) -> Samples:
    """Return every sample of a text exposition: (name, labels) to value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def where(samples: Samples, name: str, **labels: str) -> Iterable[tuple[dict[str, str], float]]:
    """Return the samples with this name and these labels."""
    matchers = set(labels.items())
    return (
        (dict(pairs), value)
        for (sample, pairs), value in samples.items()
        if sample == name and matchers <= pairs
    )
