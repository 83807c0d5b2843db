"""How parent and worker talk: messages over a socket pair, an image as the bytes it came in.

A frame is `fields' length (4 bytes) | payloads' length (8 bytes) | fields as JSON | payloads`; the
fields tell how long each payload is. No pickles: a worker that went mad cannot make its parent run
code.
"""

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

_LENGTHS = struct.Struct(">IQ")
_FIELDS_LIMIT_BYTES = 1 << 24
_PAYLOAD_LIMIT_BYTES = 1 << 32
_READ_BYTES = 1 << 18


class Kind(StrEnum):
    """What a message says."""

    LOAD = "load"  # parent: load this model
    JOBS = "jobs"  # parent: these are yours
    CANCEL = "cancel"  # parent: nobody waits for this job any more
    FOLLOW = "follow"  # parent: somebody wants to see this job's every step
    READY = "ready"  # worker: the model is loaded
    UNUSABLE = "unusable"  # worker: the model cannot be loaded
    STARTED = "started"  # worker: the model has these jobs now
    STEP = "step"  # worker: how far they are
    RESULTS = "results"  # worker: what came of jobs
    ASSESSED = "assessed"  # worker: what a closer look at an output found, after its answer
    POISONED = "poisoned"  # worker: the device is no longer usable from this process
    VRAM = "vram"  # worker: what the allocator holds; also the sign that it is alive


class ProtocolError(Exception):
    """The other side sent what is no message of ours. This is a bug."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: small fields, and payloads of bytes."""

    kind: Kind
    fields: dict[str, Any] = field(default_factory=dict)
    payloads: Sequence[bytes] = ()


class Channel:
    """A worker's end, blocking; `send` may be called from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._frames = Frames()
        self._piece = memoryview(bytearray(_READ_BYTES))
        self._received: Iterator[Message] = iter(())

    def send(self, message: Message) -> None:
        """Send a message whole. Raises OSError once the other end is closed."""
        data = b"".join(encode(message))
        with self._lock:
            self._sock.sendall(data)

    def receive(self) -> Message | None:
        """Return the next message, or None once the other end is closed."""
        while (message := next(self._received, None)) is None:
            if not self._read(0):
                return None
        return message

    def arrived(self) -> Iterator[Message]:
        """Yield the messages that are here already, without waiting for more."""
        yield from self._received
        while self._read(socket.MSG_DONTWAIT):
            yield from self._received

    def _read(self, flags: int) -> bool:
        """Read a piece of the stream; tell whether there was one."""
        try:
            read = self._sock.recv_into(self._piece, 0, flags)
        except OSError:  # nothing is there yet, or nothing ever will be
            return False
        self._received = self._frames.feed(self._piece[:read])
        return read > 0

    def close(self) -> None:
        """Close this end; a thread that waits in `receive` is woken."""
        with suppress(OSError):  # the other end was first
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


class Frames:
    """Puts messages together from pieces of a stream, however it was cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Message]:
        """Take a piece; return the messages that are whole now."""
        self._buffer += data
        return iter(self._next, None)

    def _next(self) -> Message | None:
        buffer, head = self._buffer, _LENGTHS.size
        if len(buffer) < head:
            return None
        fields, payload = _LENGTHS.unpack_from(buffer)
        if fields > _FIELDS_LIMIT_BYTES or payload > _PAYLOAD_LIMIT_BYTES:
            raise ProtocolError(
                f"A frame of {fields} + {payload} bytes is out of bounds. This is a bug."
            )
        end = head + fields + payload
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            message = _decode(view[head : head + fields], view[head + fields : end])
        del buffer[:end]
        return message


def encode(message: Message) -> list[bytes]:
    """Return a message's frame, in pieces: an image of megabytes is not copied once more."""
    lengths = [len(payload) for payload in message.payloads]
    fields = orjson.dumps({"kind": message.kind, "payloads": lengths, **message.fields})
    return [_LENGTHS.pack(len(fields), sum(lengths)) + fields, *message.payloads]


def _decode(fields: memoryview, payload: memoryview) -> Message:
    try:
        values = orjson.loads(fields)
        kind, lengths = Kind(values.pop("kind")), values.pop("payloads")
        return Message(kind, values, tuple(_cut(payload, lengths)))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as wrong:
        raise ProtocolError(f"A message cannot be read: {wrong}. This is a bug.") from wrong


def _cut(payload: memoryview, lengths: Sequence[int]) -> Iterator[bytes]:
    if not isinstance(lengths, list) or min(lengths, default=0) < 0 or sum(lengths) != len(payload):
        raise ValueError(f"payloads of {lengths} bytes in {len(payload)}")
    start = 0
    for length in lengths:
        yield bytes(payload[start : start + length])
        start += length
