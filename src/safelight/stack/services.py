"""Our programs of a stack: services, one model each, the console and the alert relay."""

import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from safelight.errors import BadSetting
from safelight.namespace import MAX_LENGTH, RESERVED
from safelight.records.config import records_url
from safelight.settings import Settings, environment_name
from safelight.stack.programs import Program

# What asks `safelight up` to reload; SIGHUP ends it, as a closed terminal does.
RELOAD_SIGNAL = signal.SIGUSR1
SERVICE, CONSOLE, ALERT_RELAY = "safelight", "console", "alert-relay"
# The demo models use the namespaces of their model families.
_NAMESPACES = {
    "demo-edit": "instructpix2pix",
    "demo-generate": "zimage",
    "demo-recognize": "recognition",
}
_LAST_PORT = 65535
# Compose and systemd read these as their own syntax; no model has them in its name.
_NOT_IN_A_MODEL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029${}]")


def services(settings: Settings, models: Sequence[str] = ()) -> dict[str, Settings]:
    """Return the settings of each service by name.

    A single service has the name `safelight`; several have the names of their namespaces. The
    first gets the port in the settings, the others get the following ports. Raises BadSetting.
    """
    if len(models) < 2:
        single = settings.model_copy(update={"model": models[0]}) if models else settings
        return {SERVICE: with_family_namespace(single)}
    if "namespace" in settings.model_fields_set:
        raise BadSetting(
            "A namespace belongs to one service. With several models, do not set it: "
            "each model has its own."
        )
    served: dict[str, Settings] = {}
    for place, model in enumerate(models):
        namespace = _NAMESPACES.get(model) or _slug(model)
        same = [name for name, other in served.items() if other.namespace == namespace]
        if same:
            raise BadSetting(
                f"{same[0]} and {model} would have the same namespace {namespace}. "
                "Start them separately."
            )
        if settings.port + place > _LAST_PORT:
            raise BadSetting(
                f"There is no free port for {model} above {settings.port}. Choose a lower port."
            )
        own = {"model": model, "namespace": namespace, "port": settings.port + place}
        served[namespace.replace("_", "-")] = settings.model_copy(update=own)
    return served


def service_program(name: str, settings: Settings) -> Program:
    """Return the program of a service. Its settings are flags, so that `ps` shows them."""
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
    shows = f"{settings.model}; API page at /docs, metrics at /metrics"
    return Program(
        name, command, settings.host, settings.port, "/readyz", shows, _records(settings)
    )


def _records(settings: Settings) -> dict[str, str]:
    """Return the records' address as an environment: it may have a password, and flags show it."""
    return {environment_name("records_url"): records_url(settings)}


def namespaces(served: Mapping[str, Settings]) -> tuple[str, ...]:
    """Return the namespace of each service."""
    return tuple(settings.namespace for settings in served.values())


def with_family_namespace(settings: Settings) -> Settings:
    """Return the settings with the namespace of the demo model, or the demo of the namespace.

    What is set stays. Raises BadSetting if the model is the demo of another family.
    """
    chosen = settings.model if "model" in settings.model_fields_set else ""
    if "namespace" in settings.model_fields_set:
        model = _of_one_family(settings.namespace, chosen)
        return settings if model == settings.model else settings.model_copy(update={"model": model})
    if settings.model not in _NAMESPACES:
        return settings
    return settings.model_copy(update={"namespace": _NAMESPACES[settings.model]})


def model_of(namespace: str, model: str | None) -> str:
    """Return the chosen model, or the demo model of the namespace's family if none is chosen.

    Raises BadSetting if the model is the demo of another family, or has characters that the
    exported files cannot have.
    """
    if model and _NOT_IN_A_MODEL.search(model):
        raise BadSetting(
            f"{model[:100]!r} is not the name of a model: write it without $, {{, }} and line ends."
        )
    return _of_one_family(namespace, model)


def _of_one_family(namespace: str, model: str | None) -> str:
    demos = {own: demo for demo, own in _NAMESPACES.items()}
    demo, family = demos.get(namespace), _NAMESPACES.get(model or "")
    if not model:
        return demo or str(Settings.model_fields["model"].default)
    if demo and family and demo != model:
        raise BadSetting(
            f"{model} belongs to the namespace {family}, and the rules and dashboards of "
            f"{namespace} would judge it wrongly. Change the model or the namespace."
        )
    return model


def _slug(model: str) -> str:
    """Return the last part of a model's name as a namespace, with only a-z, 0-9 and _."""
    words = re.sub(r"[^a-z0-9]+", "_", PurePath(model).name.lower()).strip("_")
    taken = words in RESERVED or not words[:1].isalpha()
    return (f"model_{words}" if taken else words)[:MAX_LENGTH].strip("_")


def metrics_key(served: Mapping[str, Settings]) -> Path | None:
    """Return the file with the key for /metrics. Raises BadSetting if it is needed and missing."""
    [own, *_] = served.values()
    if own.metrics_key_file is not None:
        return own.metrics_key_file.expanduser().absolute()
    if "metrics" in own.protected_pages.split(","):
        raise BadSetting(
            "Prometheus could not read the protected metrics. Set "
            f"{environment_name('metrics_key_file')} to a file with a key of the scope operate."
        )
    return None


def console_program(settings: Settings, urls: Mapping[str, str], names: Iterable[str]) -> Program:
    """Return the console for the services with these names. `urls` has each program's address.

    Only this machine reaches it.
    """
    port, host = settings.console_port, "127.0.0.1"
    served = [urls[name] for name in names]
    flags = {f"--{name}": urls[name] for name in ("prometheus", "alertmanager")}
    own = [part for pair in flags.items() for part in pair]
    own += ["--host", host, "--port", str(port), "--under-up"]
    own += [part for url in served for part in ("--service", url)]
    own += ["--state-folder", str(settings.state_folder.expanduser())]
    own += ["--monitoring", str(settings.monitoring)] if settings.monitoring else []
    command = (sys.executable, "-m", "safelight", "console", *own)
    shows = "everything, in the browser"
    return Program(CONSOLE, command, host, port, "/healthz", shows, _records(settings))


def alert_relay_program(settings: Settings, token_file: Path, prometheus: str) -> Program:
    """Return the program that forwards alerts to group chats."""
    port = settings.alert_relay_port
    token = {environment_name("relay_token_file"): str(token_file)}
    own = ("--monitoring", str(settings.monitoring), "--host", settings.host, "--port", str(port))
    others = ("--log-format", "json", "--diagnose", prometheus)
    command = (sys.executable, "-m", "safelight", "alert-relay", *own, *others)
    shows = "alerts for group chats"
    return Program(ALERT_RELAY, command, settings.host, port, "/healthz", shows, token)
