"""The services of a stack: one model each, with its own port and its own namespace."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from safelight.errors import BadSetting
from safelight.namespace import MAX_LENGTH, RESERVED
from safelight.records.config import records_url
from safelight.settings import Settings, environment_name
from safelight.stack.programs import Program

SERVICE = "safelight"
# What the demos' metrics are called, as the families' are everywhere.
_NAMESPACES = {
    "demo-edit": "instructpix2pix",
    "demo-generate": "zimage",
    "demo-recognize": "recognition",
}
_LAST_PORT = 65535


def services(settings: Settings, models: Sequence[str] = ()) -> dict[str, Settings]:
    """Return what each service is told, by its name: one is `safelight`, several are their models.

    The first has the settings' port, the others those that follow. Raises BadSetting.
    """
    if len(models) < 2:
        own = settings.model_copy(update={"model": models[0]}) if models else settings
        return {SERVICE: by_itself(own)}
    if "namespace" in settings.model_fields_set:
        raise BadSetting(
            "A namespace is one service's. With several models leave it out: each has its own."
        )
    named: dict[str, Settings] = {}
    for place, model in enumerate(models):
        namespace = _NAMESPACES.get(model) or _slug(model)
        taken = [name for name, other in named.items() if other.namespace == namespace]
        if taken:
            raise BadSetting(f"{taken[0]} and {model} would both be {namespace}. Start them apart.")
        if settings.port + place > _LAST_PORT:
            raise BadSetting(f"There is no port for {model} after {settings.port}. Choose a lower.")
        told = {"model": model, "namespace": namespace, "port": settings.port + place}
        named[namespace.replace("_", "-")] = settings.model_copy(update=told)
    return named


def program_of(name: str, settings: Settings) -> Program:
    """Return how a service is started; by flags, not the environment, so that `ps` shows it."""
    flags = {
        "--host": settings.host,
        "--port": settings.port,
        "--namespace": settings.namespace,
        "--devices": settings.devices,
        "--precision": settings.precision,
        "--log-format": "json",
        "--queue-limit": settings.queue_limit,
    }
    taxonomy = ("--taxonomy", str(settings.taxonomy)) if settings.taxonomy else ()
    command = (
        sys.executable,
        "-m",
        "safelight",
        "serve",
        settings.model,
        *(str(part) for pair in flags.items() for part in pair),
        *taxonomy,
    )
    shows = f"{settings.model}, its page at /docs, its metrics at /metrics"
    # By the environment: flags are seen by everybody, and the address may hold a password.
    records = {environment_name("records_url"): records_url(settings)}
    return Program(name, command, settings.host, settings.port, "/readyz", shows, records)


def namespaces(told: Mapping[str, Settings]) -> tuple[str, ...]:
    """Return the namespace of each service."""
    return tuple(settings.namespace for settings in told.values())


def by_itself(settings: Settings) -> Settings:
    """Return the settings of one service: a demo has its family's namespace, unless told."""
    if "namespace" in settings.model_fields_set or settings.model not in _NAMESPACES:
        return settings
    return settings.model_copy(update={"namespace": _NAMESPACES[settings.model]})


def _slug(model: str) -> str:
    """Return a model's name as a namespace: its last part, of a-z, 0-9 and _."""
    words = re.sub(r"[^a-z0-9]+", "_", PurePath(model).name.lower()).strip("_")
    taken = words in RESERVED or not words[:1].isalpha()
    return (f"model_{words}" if taken else words)[:MAX_LENGTH].strip("_")
