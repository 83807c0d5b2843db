"""The dashboards of earlier versions that no longer exist, and those that replace them."""

# In order: the first has most of the old dashboard's panels.
_REPLACEMENTS: dict[str, tuple[str, ...]] = {
    "safelight-quality-of-service": ("safelight-quality", "safelight-instructions"),
    "safelight-hosts": ("safelight-cards-and-memory",),
    "safelight-fleet": ("safelight-engine",),
}


def replaced() -> dict[str, tuple[str, ...]]:
    """Return the uids of the dashboards that replace each dashboard of an earlier version."""
    return _REPLACEMENTS


def replacement(uid: str) -> str:
    """Return a sentence that names what replaces a dashboard, or an empty text."""
    others = _REPLACEMENTS.get(uid)
    return f"{uid} no longer exists: see {' and '.join(others)}." if others else ""
