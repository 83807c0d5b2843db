"""Configuration of the records store, from the settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safelight.records.rows import Origin

if TYPE_CHECKING:  # the recorder needs no settings, nor the memory of their library
    from safelight.settings import Settings

MAX_WAITING = 10_000
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest age and size of the records, and the number of samples per type and outcome."""

    retention_seconds: float = 30 * _DAY_SECONDS
    bytes: int = 1024**3
    samples_per_type: int = 20


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Database address, origin and limits of a store; `capacity` is the size of its buffer."""

    url: str
    origin: Origin
    limits: Limits = Limits()
    samples: bool = False
    capacity: int = MAX_WAITING


def records_url(settings: "Settings") -> str:
    """Return the database URL, by default a file in the state folder; empty means no records."""
    if settings.records_url is not None:
        return settings.records_url
    return f"sqlite:///{settings.state_folder.expanduser().absolute() / 'records.db'}"


def store_config(settings: "Settings", *, model: str | None = None) -> StoreConfig | None:
    """Return the store configuration of a service, or None if records are disabled.

    `model` is by default that of the settings.
    """
    url = records_url(settings)
    if not url:
        return None
    return StoreConfig(
        url,
        Origin(
            settings.namespace, settings.model if model is None else model, settings.store_prompts
        ),
        Limits(
            settings.records_retention_days * _DAY_SECONDS,
            settings.records_limit_bytes,
            settings.samples_per_type,
        ),
        settings.samples,
    )
