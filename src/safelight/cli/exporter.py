"""`safelight gpu-exporter`: expose this machine's GPU metrics to Prometheus."""

from typing import Annotated

import typer

from safelight.cli.options import setting_option
from safelight.settings import load


def gpu_exporter(
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("gpu_exporter_port", "--port")] = None,
    gpu_interval_seconds: Annotated[float | None, setting_option("gpu_interval_seconds")] = None,
) -> None:
    """Expose the NVIDIA GPUs of this machine to Prometheus, until Ctrl-C.

    It also runs without a GPU or driver. It then increases
    safelight_probe_failures_total until a GPU appears.

    Examples:

        safelight gpu-exporter

        safelight gpu-exporter --host 0.0.0.0 --port 9401
    """
    from safelight.stack.tools.exporter import serve

    serve(
        load(host=host, gpu_exporter_port=port, gpu_interval_seconds=gpu_interval_seconds),
        report=lambda text: typer.echo(text, err=True),
    )
