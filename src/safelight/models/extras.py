"""Check that the extras that settings need are installed. No library is imported for that."""

import re
from importlib.util import find_spec

from safelight.errors import BadSetting, MissingExtra
from safelight.settings import Settings

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # your own model: package.module:function
LIBRARIES = {
    "models": ("torch", "diffusers", "transformers", "safetensors"),
    "int8": ("torchao",),
    "postgres": ("psycopg",),
    "tracing": (
        "opentelemetry.sdk",
        "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry.exporter.otlp.proto.grpc",
    ),
}


def require_extras(settings: Settings) -> None:
    """Raise MissingExtra if a service with these settings lacks a library.

    Before it starts: a worker would find that out only when it loads the model.
    """
    if not FACTORY.fullmatch(settings.model):
        require("models")
    if settings.precision == "int8":
        require("int8")
    require_driver(settings)
    require_receiver(settings)


def require_receiver(settings: Settings) -> None:
    """Raise MissingExtra or BadSetting if metrics or traces are to be sent and cannot be."""
    if settings.otlp_metrics_seconds and not settings.otlp_endpoint:
        raise BadSetting("SAFELIGHT_OTLP_METRICS_SECONDS also needs SAFELIGHT_OTLP_ENDPOINT.")
    if settings.otlp_endpoint:
        require("tracing")


def require_driver(settings: Settings) -> None:
    """Raise MissingExtra if the library of the records' database is not installed."""
    if (settings.records_url or "").startswith("postgresql:"):
        require("postgres")


def require(extra: str) -> None:
    """Raise MissingExtra if a library of an extra is not installed."""
    missing = [library for library in LIBRARIES[extra] if not _is_installed(library)]
    if missing:
        raise MissingExtra(extra, *missing)


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False
