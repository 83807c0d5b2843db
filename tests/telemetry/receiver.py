"""Real receivers of OTLP, by HTTP and gRPC. They keep what they get; a test can make them fail."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from safelight.metrics.registry import Samples


@dataclass(eq=False)
class Receiver:
    """What a receiver got. While `status` is not 200 it refuses; while it is held it is silent."""

    url: str = ""
    status: int = 200
    metrics: list[Any] = field(default_factory=list)
    traces: list[Any] = field(default_factory=list)
    asked: int = 0
    refused: int = 0
    answering: threading.Event = field(default_factory=threading.Event)

    def take(self, kept: list[Any], request: Any) -> bool:
        """Keep a request if it is not refused."""
        self.asked += 1
        self.answering.wait(30)
        if self.status != 200:
            self.refused += 1
            return False
        kept.append(request)
        return True


@contextmanager
def http_receiver(port: int = 0) -> Iterator[Receiver]:
    """Receive at `/v1/metrics` and `/v1/traces` of a port of 127.0.0.1."""
    receiver = Receiver()
    receiver.answering.set()
    kinds: dict[str, tuple[list[Any], Callable[[], Any]]] = {
        "/v1/metrics": (receiver.metrics, metrics.ExportMetricsServiceRequest),
        "/v1/traces": (receiver.traces, traces.ExportTraceServiceRequest),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept, kind = kinds[self.path]
            request = kind()
            request.ParseFromString(body)
            taken = receiver.take(kept, request)
            self.send_response(200 if taken else receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_receiver(port: int = 0) -> Iterator[Receiver]:
    """Receive metrics and traces by gRPC on a port of 127.0.0.1."""
    receiver = Receiver()
    receiver.answering.set()

    class Metrics(metrics_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            if not receiver.take(receiver.metrics, request):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
            return metrics.ExportMetricsServiceResponse()

    class Traces(traces_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            if not receiver.take(receiver.traces, request):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
            return traces.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    serving: dict[Any, Any] = {
        Metrics: metrics_grpc.add_MetricsServiceServicer_to_server,
        Traces: traces_grpc.add_TraceServiceServicer_to_server,
    }
    for service, add in serving.items():
        add(service(), server)
    receiver.url = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.stop(None).wait()


RECEIVERS = {"http/protobuf": http_receiver, "grpc": grpc_receiver}


def resource_of(request: Any) -> dict[str, str]:
    """Return the attributes of the only resource of a request."""
    [resource] = request.resource_metrics
    return {each.key: each.value.string_value for each in resource.resource.attributes}


def metrics_of(request: Any) -> dict[str, Metric]:
    """Return the metrics of a request by name; each has one."""
    [resource] = request.resource_metrics
    [scope] = resource.scope_metrics
    found = {each.name: each for each in scope.metrics}
    assert len(found) == len(scope.metrics)
    return found


def samples_of(request: Any) -> Samples:
    """Return the values of a request as the text of `/metrics` has them."""
    found: Samples = {}
    for name, metric in metrics_of(request).items():
        kind = metric.WhichOneof("data")
        for point in getattr(metric, kind or "").data_points:
            labels = {each.key: each.value.string_value for each in point.attributes}
            for suffix, more, value in _values(point, kind):
                key = name + suffix, frozenset({**labels, **more}.items())
                assert key not in found
                found[key] = value
    return found


def _values(point: Any, kind: str | None) -> Iterator[tuple[str, dict[str, str], float]]:
    if kind != "histogram":
        yield "", {}, point.as_double
        return
    yield "_count", {}, point.count
    yield "_sum", {}, point.sum
    number, bounds = 0, [*map(repr, point.explicit_bounds), "+Inf"]
    for bound, count in zip(bounds, point.bucket_counts, strict=True):
        number += count
        if len(bounds) > 1:  # a summary has one bucket, and the text none
            yield "_bucket", {"le": bound}, number
