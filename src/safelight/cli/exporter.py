"""`safelight gpu-exporter`: the cards' metrics of this machine, for Prometheus."""

from typing import Annotated

import typer

from safelight.cli.options import knob
from safelight.settings import load


def gpu_exporter(
    host: Annotated[str | None, knob("host")] = None,
    port: Annotated[int | None, knob("gpu_exporter_port", "--port")] = None,
    gpu_interval_seconds: Annotated[float | None, knob("gpu_interval_seconds")] = None,
) -> None:
    """Expose the NVIDIA cards of this machine to Prometheus, until Ctrl-C.

    Without a card or driver it answers all the same, says so, and counts
    safelight_probe_failures_total until there is one.

    Examples:

        safelight gpu-exporter

        safelight gpu-exporter --host 0.0.0.0 --port 9401
    """
    from safelight.stack.tools.exporter import serve

    serve(
        load(host=host, gpu_exporter_port=port, gpu_interval_seconds=gpu_interval_seconds),
        report=lambda text: typer.echo(text, err=True),
    )
