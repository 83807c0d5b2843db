"""What the store and the recorder process say to each other, as MessagePack.

Each call has one reply. Records, assessments and pairs are encoded one by one: one that is
invalid is lost alone.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Literal, TypeVar

import msgspec

from safelight.records.buffer import Entry, Pending
from safelight.records.rows import Rating, StoredRequest
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import Record


class Write(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Write entries. `unreadable` ones could not be encoded."""

    records: list[msgspec.Raw]
    assessments: list[msgspec.Raw]
    counterparts: list[msgspec.Raw]
    ratings: dict[str, tuple[float, Rating]]
    unreadable: int


class Tidy(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Delete rows above the limits at a Unix time."""

    now: float


class Find(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Find an owner's requests."""

    name: str
    owner: str


class Forget(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Delete requests."""

    request_ids: tuple[str, ...]


class Written(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The reply to Write: numbers of entries."""

    written: int
    lost: int


class Tidied(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The reply to Tidy."""

    more: bool


class Found(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The reply to Find."""

    requests: list[StoredRequest]


class Forgotten(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The reply to Forget."""


class Failed(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The reply to a call that raised: the kind of its error, and its text."""

    kind: Literal["database", "unusable", "bad_input"]
    message: str


Call = Write | Tidy | Find | Forget
Reply = Written | Tidied | Found | Forgotten | Failed

Decoded = TypeVar(
    "Decoded", tuple[float, Record], tuple[float, Assessment], tuple[float, Counterpart]
)

ENCODER = msgspec.msgpack.Encoder()
CALLS = msgspec.msgpack.Decoder(Call)
REPLIES = msgspec.msgpack.Decoder(Reply)
_RECORDS = msgspec.msgpack.Decoder(tuple[float, Record])
_ASSESSMENTS = msgspec.msgpack.Decoder(tuple[float, Assessment])
_COUNTERPARTS = msgspec.msgpack.Decoder(tuple[float, Counterpart])


def to_write(pending: Pending) -> Write:
    """Return the call that writes entries."""
    records: list[msgspec.Raw] = []
    assessments: list[msgspec.Raw] = []
    counterparts: list[msgspec.Raw] = []
    kinds = {Record: records, Assessment: assessments, Counterpart: counterparts}
    for entry in pending.entries:
        with suppress(Exception):  # no object may stop the others
            kinds[type(entry[1])].append(msgspec.Raw(_encoded(entry)))
    unreadable = len(pending.entries) - sum(map(len, kinds.values()))
    return Write(records, assessments, counterparts, pending.ratings, unreadable)


def to_pending(call: Write) -> tuple[Pending, int]:
    """Return the entries of a call, and the number of those that cannot be read."""
    entries: list[Entry] = [*_decoded(_RECORDS, call.records)]
    entries += _decoded(_ASSESSMENTS, call.assessments)
    entries += _decoded(_COUNTERPARTS, call.counterparts)
    sent = sum(map(len, (call.records, call.assessments, call.counterparts))) + call.unreadable
    return Pending(tuple(entries), call.ratings), sent - len(entries)


def _encoded(entry: Entry) -> bytes:
    try:
        return ENCODER.encode(entry)
    except UnicodeEncodeError:  # an unpaired surrogate
        return ENCODER.encode(_plain(msgspec.to_builtins(entry, builtin_types=(bytes,))))


def _plain(value: object) -> object:
    """Return a value of dicts and sequences whose texts can all be encoded."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_plain(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return value


def _decoded(
    decoder: msgspec.msgpack.Decoder[Decoded], entries: Iterable[msgspec.Raw]
) -> Iterator[Decoded]:
    for entry in entries:
        with suppress(msgspec.MsgspecError, ValueError):
            yield decoder.decode(entry)
