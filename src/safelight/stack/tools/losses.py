"""Report how many records the service on this machine has lost, from its `/metrics`."""

from collections.abc import Iterator
from contextlib import suppress

import httpx

from safelight.metrics.catalog import KEPT, RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Samples, parse, where
from safelight.origins import is_local
from safelight.settings import Settings
from safelight.stack.tools.finding import Finding

_TIMEOUT_SECONDS = 2.0


def lost_records(settings: Settings) -> Iterator[Finding]:
    """Yield the losses since the service began, if one answers at the settings' address."""
    host = settings.host if is_local(settings.host) else "127.0.0.1"
    url = f"http://{host}:{settings.port}/metrics"
    samples = _read(url, settings)
    outcomes = {labels[KEPT.name]: value for labels, value in where(samples, RECORDS.name)}
    if not outcomes:  # no service, or one without records
        return
    lost = outcomes.get("lost", 0.0)
    waiting = sum(value for _, value in where(samples, RECORDS_WAITING.name))
    detail = f"{lost:.0f} lost, {waiting:.0f} waiting, {outcomes.get('written', 0.0):.0f} written"
    remedy = "The service's log has the reason: `records cannot be written`. Repair the database."
    yield Finding("records", url, lost == 0, detail, needed=False, remedy=remedy)


def _read(url: str, settings: Settings) -> Samples:
    """Return the samples of a page, or none if it cannot be read."""
    headers = {}
    with suppress(OSError, ValueError, httpx.HTTPError):
        if settings.metrics_key_file is not None:
            key = settings.metrics_key_file.expanduser().read_text().strip()
            headers["authorization"] = f"Bearer {key}"
        page = httpx.get(url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)
        return parse(page.raise_for_status().text)
    return {}
