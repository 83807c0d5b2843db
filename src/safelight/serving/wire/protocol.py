"""Framing of the messages between the API process and a worker, over a socket pair.

A frame is `header length (4 bytes) | payload length (8 bytes) | header | payloads`. The header is
MessagePack: the content and the length of each payload. Nothing is pickled, so a corrupted worker
cannot make the API process run code.
"""

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from safelight.serving.wire.schema import Content

_LENGTHS = struct.Struct(">IQ")
_HEADER_LIMIT_BYTES = 1 << 24
_PAYLOAD_LIMIT_BYTES = 1 << 32
_READ_BYTES = 1 << 18


class ProtocolError(Exception):
    """The other side sent bytes that are not a message. This is a bug."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its typed content, and its payloads of raw bytes."""

    content: Content
    payloads: Sequence[bytes] = ()


class _Header(msgspec.Struct, array_like=True, frozen=True):
    content: Content
    lengths: list[int]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Header)


class Channel:
    """A worker's end of the socket pair. It blocks; `send` may be called from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._frames = Frames()
        self._chunk = memoryview(bytearray(_READ_BYTES))
        self._received: Iterator[Message] = iter(())

    def send(self, message: Message) -> None:
        """Send a message whole. Raises OSError if the other end is closed."""
        data = b"".join(encode(message))
        with self._lock:
            self._sock.sendall(data)

    def receive(self) -> Message | None:
        """Wait for the next message and return it; None if the other end is closed."""
        while (message := next(self._received, None)) is None:
            if not self._read(0):
                return None
        return message

    def arrived(self) -> Iterator[Message]:
        """Yield the messages that have arrived, without waiting for more."""
        yield from self._received
        while self._read(socket.MSG_DONTWAIT):
            yield from self._received

    def _read(self, flags: int) -> bool:
        """Read the next chunk of the stream; return False if there was none."""
        try:
            count = self._sock.recv_into(self._chunk, 0, flags)
        except OSError:  # no data yet, or the connection is gone
            return False
        self._received = self._frames.feed(self._chunk[:count])
        return count > 0

    def close(self) -> None:
        """Close this end and wake a thread that waits in `receive`."""
        with suppress(OSError):  # the other end closed first
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


class Frames:
    """Assembles messages from chunks of a stream, wherever the stream was cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Message]:
        """Add a chunk; return the messages that are complete now. Raises ProtocolError."""
        self._buffer += data
        return iter(self._next, None)

    def _next(self) -> Message | None:
        buffer, start = self._buffer, _LENGTHS.size
        if len(buffer) < start:
            return None
        header, payload = _LENGTHS.unpack_from(buffer)
        if header > _HEADER_LIMIT_BYTES or payload > _PAYLOAD_LIMIT_BYTES:
            raise ProtocolError(
                f"A frame of {header} + {payload} bytes is out of bounds. This is a bug."
            )
        end = start + header + payload
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            message = _decode(view[start : start + header], view[start + header : end])
        del buffer[:end]
        return message


def encode(message: Message) -> list[bytes]:
    """Return a message's frame in pieces, so that a large image is not copied once more."""
    lengths = [len(payload) for payload in message.payloads]
    header = _ENCODER.encode(_Header(message.content, lengths))
    return [_LENGTHS.pack(len(header), sum(lengths)) + header, *message.payloads]


def _decode(header: memoryview, payload: memoryview) -> Message:
    try:
        decoded = _DECODER.decode(header)
        return Message(decoded.content, tuple(_split(payload, decoded.lengths)))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ProtocolError(f"A message cannot be read: {error}. This is a bug.") from error


def _split(payload: memoryview, lengths: Sequence[int]) -> Iterator[bytes]:
    if min(lengths, default=0) < 0 or sum(lengths) != len(payload):
        raise ValueError(f"payloads of {lengths} bytes in {len(payload)}")
    start = 0
    for length in lengths:
        yield bytes(payload[start : start + length])
        start += length
