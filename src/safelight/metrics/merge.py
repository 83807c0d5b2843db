"""Join two expositions, so that a metric that exists already stays visible and unchanged."""

import re
from dataclasses import dataclass

RENAMED = "safelight_"
_EOF = b"# EOF\n"
_OPENMETRICS = "application/openmetrics-text"
_FIRST_LINE = re.compile(rb"# (HELP|TYPE|UNIT) |[a-zA-Z_:][a-zA-Z0-9_:]*[ {]")
_FAMILY = re.compile(rb"^# (?:HELP|TYPE|UNIT) (\S+)", re.MULTILINE)
_BLOCK = re.compile(rb"^(?=# HELP )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OwnPage:
    """An exposition of the application itself."""

    body: bytes
    content_type: str

    @property
    def is_openmetrics(self) -> bool:
        """Return True for OpenMetrics, False for Prometheus' text format."""
        return self.content_type.startswith(_OPENMETRICS)


def page_of(status: int, content_type: str, body: bytes) -> OwnPage | None:
    """Return the page, or None if the response is not an exposition (a 404, an HTML page)."""
    is_text = content_type.startswith(("text/plain", _OPENMETRICS))
    if status != 200 or not is_text or not _FIRST_LINE.match(body.lstrip()):
        return None
    return OwnPage(body, content_type)


def hidden(theirs: bytes, ours: bytes) -> list[str]:
    """Return the families of `ours` that `joined` leaves out, except those of the process."""
    names = {_name(block) for block in _BLOCK.split(ours)} & set(_FAMILY.findall(theirs))
    return sorted(
        name.decode() for name in names if not name.startswith((b"http_", b"process_", b"python_"))
    )


def joined(theirs: bytes, ours: bytes) -> bytes:
    """Return `theirs` followed by the families of `ours` that it does not have.

    If both have HTTP metrics of a name, ours get the prefix `safelight_`: the alerts prefer them.
    """
    ends = ours.endswith(_EOF)
    present = set(_FAMILY.findall(theirs))
    blocks = [block for block in _BLOCK.split(ours.removesuffix(_EOF)) if block]
    added = [_prefixed(block) if _name(block) in present else block for block in blocks]
    head = theirs.removesuffix(_EOF)
    if head and not head.endswith(b"\n"):
        head += b"\n"
    return (
        head
        + b"".join(block for block in added if _name(block) not in present)
        + (_EOF if ends else b"")
    )


def _prefixed(block: bytes) -> bytes:
    name = _name(block)
    if not name.startswith(b"http_"):
        return block
    return re.sub(rb"(?m)^(# [A-Z]+ )?(?=" + name + b")", rb"\1" + RENAMED.encode(), block)


def _name(block: bytes) -> bytes:
    match = _FAMILY.match(block)
    return match[1] if match else b""
