"""`safelight serve`: one model, served."""

from pathlib import Path
from typing import Annotated

from safelight.cli.options import knob, model_argument
from safelight.settings import load


def serve(
    model: Annotated[str | None, model_argument()] = None,
    host: Annotated[str | None, knob("host")] = None,
    port: Annotated[int | None, knob("port")] = None,
    namespace: Annotated[str | None, knob("namespace")] = None,
    device: Annotated[str | None, knob("device")] = None,
    precision: Annotated[str | None, knob("precision")] = None,
    queue_limit: Annotated[int | None, knob("queue_limit")] = None,
    taxonomy: Annotated[Path | None, knob("taxonomy")] = None,
    log_format: Annotated[str | None, knob("log_format")] = None,
) -> None:
    """Serve a model over HTTP, measured down to each denoising step.

    Examples:

        safelight serve

        safelight serve timbrooks/instruct-pix2pix --device cuda:0

        curl -F image=@photo.jpg -F "instruction=make him old" localhost:8000/api/edit -o edited.png
    """
    from safelight.serving.app import serve as run

    run(
        load(
            model=model, host=host, port=port, namespace=namespace, device=device,
            precision=precision, queue_limit=queue_limit, taxonomy=taxonomy, log_format=log_format,
        )
    )  # fmt: skip
