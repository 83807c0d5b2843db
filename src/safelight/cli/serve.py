"""`safelight serve`: serve one model."""

from pathlib import Path
from typing import Annotated

from safelight.cli.options import model_argument, setting_option
from safelight.settings import load
from safelight.stack.services import with_family_namespace


def serve(
    model: Annotated[str | None, model_argument()] = None,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("port")] = None,
    tls_certificate: Annotated[Path | None, setting_option("tls_certificate")] = None,
    tls_key: Annotated[Path | None, setting_option("tls_key")] = None,
    namespace: Annotated[str | None, setting_option("namespace")] = None,
    devices: Annotated[str | None, setting_option("devices")] = None,
    precision: Annotated[str | None, setting_option("precision")] = None,
    queue_limit: Annotated[int | None, setting_option("queue_limit")] = None,
    batch_limit: Annotated[int | None, setting_option("batch_limit")] = None,
    max_concurrent_requests: Annotated[
        int | None, setting_option("max_concurrent_requests")
    ] = None,
    degradation_level: Annotated[int | None, setting_option("degradation_level")] = None,
    allow_anonymous: Annotated[bool | None, setting_option("allow_anonymous")] = None,
    taxonomy: Annotated[Path | None, setting_option("taxonomy")] = None,
    tags: Annotated[Path | None, setting_option("tags")] = None,
    shadow: Annotated[str | None, setting_option("shadow")] = None,
    shadow_precision: Annotated[str | None, setting_option("shadow_precision")] = None,
    shadow_steps: Annotated[int | None, setting_option("shadow_steps")] = None,
    shadow_compile: Annotated[bool | None, setting_option("shadow_compile")] = None,
    shadow_devices: Annotated[str | None, setting_option("shadow_devices")] = None,
    shadow_pairs: Annotated[int | None, setting_option("shadow_pairs")] = None,
    log_format: Annotated[str | None, setting_option("log_format")] = None,
) -> None:
    """Serve a model over HTTP, measured down to each denoising step.

    Examples:

        safelight serve

        safelight serve timbrooks/instruct-pix2pix --devices cuda:0,cuda:1

        safelight serve openai/clip-vit-base-patch32 --tags tags.txt

        safelight serve ./edit-v1 --shadow ./edit-v2   # compare another model, see docs/guard.md

        safelight serve my_package.models:Tagger   # your own model, see docs/engine.md

        curl -F image=@photo.jpg -F "instruction=make him old" localhost:8000/api/edit -o edited.png
    """
    from safelight.serving.app import serve as run

    run(
        with_family_namespace(
            load(
                model=model,
                host=host,
                port=port,
                tls_certificate=tls_certificate,
                tls_key=tls_key,
                namespace=namespace,
                devices=devices,
                precision=precision,
                queue_limit=queue_limit,
                batch_limit=batch_limit,
                max_concurrent_requests=max_concurrent_requests,
                degradation_level=degradation_level,
                allow_anonymous=allow_anonymous,
                taxonomy=taxonomy,
                tags=tags,
                shadow=shadow,
                shadow_precision=shadow_precision,
                shadow_steps=shadow_steps,
                shadow_compile=shadow_compile,
                shadow_devices=shadow_devices,
                shadow_pairs=shadow_pairs,
                log_format=log_format,
            )
        )
    )
