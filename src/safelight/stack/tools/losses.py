"""Report how many records the service on this machine has lost, from its `/metrics`."""

from collections.abc import Iterator
from contextlib import suppress

import httpx

from safelight.metrics.catalog import KEPT, RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Samples, parse, where
from safelight.settings import Settings
from safelight.stack.tools.finding import Finding

_TIMEOUT_SECONDS = 2.0
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def lost_records(settings: Settings) -> Iterator[Finding]:
    """Yield the losses since the service began, if one answers at the settings' address."""
    host = _LOOPBACK.get(settings.host, settings.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/metrics"
    try:
        samples = _read(url, settings)
    except httpx.HTTPStatusError as error:
        remedy = "Set SAFELIGHT_METRICS_KEY_FILE to a file with a key that may read the metrics."
        detail = f"not shown: HTTP {error.response.status_code}"
        yield Finding("records", url, found=False, detail=detail, needed=False, remedy=remedy)
        return
    outcomes = {labels[KEPT.name]: value for labels, value in where(samples, RECORDS.name)}
    if not outcomes:  # no service, or one without records
        return
    lost = outcomes.get("lost", 0.0)
    waiting = sum(value for _, value in where(samples, RECORDS_WAITING.name))
    detail = f"{lost:.0f} lost, {waiting:.0f} waiting, {outcomes.get('written', 0.0):.0f} written"
    remedy = (
        "These are the losses since the service began. Its log says why, mostly as `records cannot "
        "be written`. Repair the database."
    )
    yield Finding("records", url, lost == 0, detail, needed=False, remedy=remedy)


def _read(url: str, settings: Settings) -> Samples:
    """Return the samples of a page, or none if no service answers. Raises HTTPStatusError."""
    headers = {}
    with suppress(OSError, ValueError, httpx.InvalidURL, httpx.TransportError):
        if settings.metrics_key_file is not None:
            key = settings.metrics_key_file.expanduser().read_text().strip()
            headers["authorization"] = f"Bearer {key}"
        page = httpx.get(url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)
        if page.status_code == httpx.codes.NOT_FOUND:  # another program has the port
            return {}
        return parse(page.raise_for_status().text)
    return {}
