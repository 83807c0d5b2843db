"""PromQL expressions that show a fault on a dashboard. `@` is replaced by the service's job."""

_NS = "instructpix2pix"
COUNTED = "or vector(0)"  # suffix of expressions that count events


def stage(name: str, ns: str = _NS) -> str:
    return _mean(f"{ns}_request_stage_duration_seconds", f',stage="{name}"')


def step(place: str = "", ns: str = _NS) -> str:
    return _mean(f"{ns}_step_latency_seconds", f',step="{place}"' if place else "")


def call(ns: str = _NS, instance: str = "") -> str:
    return _mean(
        f"{ns}_inference_duration_seconds", f',instance=~".*-{instance}:.*"' if instance else ""
    )


def latency(ns: str = _NS) -> str:
    return _mean(f"{ns}_request_duration_seconds", "")


def waiting(ns: str = _NS) -> str:
    return (
        f'sum(rate({ns}_request_queued_duration_seconds_sum{{job="@"}}[5m]))'
        f' / sum(rate({ns}_request_duration_seconds_sum{{job="@"}}[5m]))'
    )


def rate(name: str, ns: str = _NS, where: str = "") -> str:
    return f'sum(rate({ns}_{name}{{job="@"{where}}}[5m])) {COUNTED}'


def failed(reason: str, ns: str = _NS) -> str:
    return rate("request_total", ns, f',error="{reason}"')


def level(name: str, ns: str = "", where: str = "") -> str:
    full_name = f"{ns}_{name}" if ns else name
    return f'max(avg_over_time({full_name}{{job="@"{where}}}[5m]))'


def blocked() -> str:
    rate = 'sum(rate(http_event_loop_lag_seconds_{part}{{job="@"}}[5m]))'
    late, beats = rate.format(part="sum"), rate.format(part="count")
    return f"{late} / ({late} + 0.1 * {beats})"


def down() -> str:
    return 'max(1 - avg_over_time(up{job="@"}[5m]))'


def largest_share(name: str, ns: str = _NS) -> str:
    """Return the share of events of the instance with the most events."""
    rates = f'rate({ns}_{name}{{job="@"}}[5m])'
    return f"max(sum by (instance) ({rates})) / scalar(sum({rates}))"


def mean(name: str, ns: str = _NS) -> str:
    return _mean(f"{ns}_{name}", "")


def _mean(name: str, where: str) -> str:
    total, count = (f'sum(rate({name}_{part}{{job="@"{where}}}[5m]))' for part in ("sum", "count"))
    return f"{total} / {count}"
