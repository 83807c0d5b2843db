"""How parent and worker talk: messages over a socket pair, an image as the bytes it came in.

A frame is `fields' length (4 bytes) | payload's length (8 bytes) | fields as JSON | payload`.
No pickles: a worker that went mad cannot make its parent run code.
"""

import asyncio
import socket
import struct
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

_LENGTHS = struct.Struct(">IQ")
_FIELDS_LIMIT_BYTES = 1 << 20
_PAYLOAD_LIMIT_BYTES = 1 << 31


class Kind(StrEnum):
    """What a message says."""

    LOAD = "load"  # parent: load this model
    JOB = "job"  # parent: make this edit
    CANCEL = "cancel"  # parent: nobody waits for this job any more
    READY = "ready"  # worker: the model is loaded
    UNUSABLE = "unusable"  # worker: the model cannot be loaded
    DONE = "done"  # worker: the job's image
    FAILED = "failed"  # worker: why there is none
    VRAM = "vram"  # worker: what the allocator holds


class ProtocolError(Exception):
    """The other side sent what is no message of ours. This is a bug."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: small fields, and a payload of bytes."""

    kind: Kind
    fields: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


class Channel:
    """A worker's end, blocking; `send` may be called from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message whole. Raises OSError once the other end is closed."""
        with self._lock:
            self._sock.sendall(encode_head(message))
            self._sock.sendall(message.payload)

    def close(self) -> None:
        """Close this end."""
        self._file.close()
        self._sock.close()

    def receive(self) -> Message | None:
        """Return the next message, or None once the other end is closed."""
        lengths = self._file.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            return None
        fields, payload = _check(lengths)
        return _decode(self._file.read(fields), self._file.read(payload))


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message at the parent's end, or None once the other end is closed."""
    try:
        fields, payload = _check(await reader.readexactly(_LENGTHS.size))
        return _decode(await reader.readexactly(fields), await reader.readexactly(payload))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def encode_head(message: Message) -> bytes:
    """Return all of a message's frame but its payload."""
    fields = orjson.dumps({"kind": message.kind, **message.fields})
    return _LENGTHS.pack(len(fields), len(message.payload)) + fields


def _check(lengths: bytes) -> tuple[int, int]:
    fields, payload = _LENGTHS.unpack(lengths)
    if fields > _FIELDS_LIMIT_BYTES or payload > _PAYLOAD_LIMIT_BYTES:
        raise ProtocolError(
            f"A frame of {fields} + {payload} bytes is out of bounds. This is a bug."
        )
    return fields, payload


def _decode(fields: bytes, payload: bytes) -> Message:
    try:
        values = orjson.loads(fields)
        return Message(Kind(values.pop("kind")), values, payload)
    except (orjson.JSONDecodeError, KeyError, ValueError) as wrong:
        raise ProtocolError(f"A message cannot be read: {wrong}. This is a bug.") from wrong
