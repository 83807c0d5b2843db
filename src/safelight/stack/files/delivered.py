"""The monitoring file as containers read it: the paths of its secrets are those in a container."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tomli_w

from safelight.stack.files.document import header
from safelight.stack.monitoring import Monitoring
from safelight.stack.receivers import Part

SECRETS = Path("/run/secrets")
METRICS_KEY = "metrics_key"  # of the service, for Prometheus
RELAY_TOKEN = "relay_token"  # no receiver's secret has such a name: they end with their key
_FILE = "_file"  # the end of a key that names the file of a secret
Moved = TypeVar("Moved", bound=Part)


@dataclass(frozen=True, slots=True)
class Delivered:
    """How alerts leave the containers.

    `secrets` has the key of the monitoring file by the name of the secret. Alertmanager reads
    `own_secrets`, the relay `relay_secrets`, Prometheus `store_secrets`.
    """

    monitoring: Monitoring
    secrets: Mapping[str, str]
    own_secrets: tuple[str, ...]
    relay_secrets: tuple[str, ...]
    store_secrets: tuple[str, ...]

    @property
    def token_file(self) -> Path | None:
        """Return the file with the token that Alertmanager sends to the relay, in containers."""
        return SECRETS / RELAY_TOKEN if self.relayed else None

    @property
    def relayed(self) -> bool:
        """Return whether a receiver needs the relay."""
        return bool(self.monitoring.relayed)

    def relay_file(self) -> str:
        """Return the monitoring file of the relay: only the receivers that it serves."""
        kept = self.monitoring.relayed
        content = self.monitoring.model_dump(mode="json", exclude_defaults=True)
        receivers = content.get("receivers", {})
        content.pop("remote_write", None)
        content["receivers"] = {name: receivers[name] for name in kept}
        content["routes"] = {
            severity: served
            for severity, names in self.monitoring.routes
            if (served := [name for name in names if name in kept])
        }
        return header("delivered") + tomli_w.dumps(content)


def delivered(monitoring: Monitoring) -> Delivered:
    """Return a monitoring file with the paths of its secrets in containers."""
    moved = {name: _moved(name, receiver) for name, receiver in monitoring.receivers.items()}
    stores = {_store(place): each for place, each in enumerate(monitoring.remote_write)}
    secrets = {
        name: _secrets(name, f"receivers.{name}", receiver)
        for name, receiver in monitoring.receivers.items()
    }
    of_stores = {
        name: _secrets(name, f"remote_write.{place}", store)
        for place, (name, store) in enumerate(stores.items())
    }
    relayed = monitoring.relayed
    tokens = (RELAY_TOKEN,) if relayed else ()
    changes = {
        "receivers": moved,
        "remote_write": tuple(_moved(name, store) for name, store in stores.items()),
        "relay_url": None,  # in the containers the relay has another address
    }
    return Delivered(
        monitoring.model_copy(update=changes),
        {secret: key for keys in (secrets | of_stores).values() for secret, key in keys.items()},
        (*_of(secrets, secrets.keys() - relayed.keys()), *tokens),
        (*_of(secrets, relayed.keys()), *tokens),
        (*_of(of_stores, of_stores.keys()),),
    )


def _of(secrets: Mapping[str, Mapping[str, str]], names: Set[str]) -> Iterator[str]:
    """Yield the names of the secrets of these receivers."""
    return (secret for name, keys in secrets.items() if name in names for secret in keys)


def _moved(name: str, part: Moved) -> Moved:
    paths = {key: SECRETS / _secret(name, key) for key in _file_keys(part)}
    return part.model_copy(update=paths)


def _secrets(name: str, place: str, part: Part) -> dict[str, str]:
    """Return the keys of a receiver or store that name files, by the name of the secret."""
    return {_secret(name, key): f"{place}.{key}" for key in _file_keys(part)}


def _file_keys(part: Part) -> Iterator[str]:
    return (key for key, value in part if key.endswith(_FILE) and value is not None)


def _store(place: int) -> str:
    return f"store.{place}"  # no receiver's name has a dot


def _secret(name: str, key: str) -> str:
    return f"{name}_{key.removesuffix(_FILE)}"
