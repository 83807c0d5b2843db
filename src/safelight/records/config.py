"""Where the records are kept and how much of them: what the settings say, without any database."""

from dataclasses import dataclass

from safelight.records.rows import Origin
from safelight.settings import Settings

MOST_WAITING = 10_000
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, and of samples how many of each type, good and failed."""

    retention_seconds: float = 30 * _DAY_SECONDS
    bytes: int = 1024**3
    samples_per_type: int = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store is to do; at `most` so many entries wait for the database."""

    url: str
    origin: Origin
    limits: Limits = Limits()
    samples: bool = False
    most: int = MOST_WAITING


def records_url(settings: Settings) -> str:
    """Return the address of the database: by default a file in the state folder; empty is none."""
    if settings.records_url is not None:
        return settings.records_url
    return f"sqlite:///{settings.state_folder.expanduser().absolute() / 'records.db'}"


def plan_of(settings: Settings) -> Plan | None:
    """Return what a service is to remember, or None where it keeps no records."""
    url = records_url(settings)
    if not url:
        return None
    return Plan(
        url,
        Origin(settings.namespace, settings.model, settings.store_prompts),
        Limits(
            settings.records_retention_days * _DAY_SECONDS,
            settings.records_limit_bytes,
            settings.samples_per_type,
        ),
        settings.samples,
    )
