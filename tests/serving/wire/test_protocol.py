"""Messages between parent and worker."""

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.wire.protocol import Channel, Frames, Kind, Message, ProtocolError, encode
from tests.reading import at_once

WAIT_SECONDS = 30.0
NAMES = st.text(min_size=1).filter(lambda name: name not in ("kind", "payloads"))
VALUES = st.recursive(
    st.integers(-(2**53), 2**53) | st.text() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(Kind),
    fields=st.dictionaries(NAMES, VALUES, max_size=4),
    payloads=st.lists(st.binary(max_size=40), max_size=4).map(tuple),
)
A_MESSAGE = Message(Kind.RESULTS, {"id": "1"}, (b"image", b"", b"more"))


def framed(*messages: Message) -> bytes:
    return b"".join(piece for message in messages for piece in encode(message))


def raw(fields: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">IQ", len(fields), len(payload)) + fields + payload


def read(data: bytes) -> list[Message]:
    return list(Frames().feed(data))


# ── Frames ───────────────────────────────────────────────────────────────────────────────────────


@given(messages=st.lists(MESSAGES, max_size=4), data=st.data())
def test_however_a_stream_is_cut_the_same_messages_come_out(
    messages: list[Message], data: st.DataObject
) -> None:
    stream = framed(*messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    frames, out = Frames(), list[Message]()

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += frames.feed(stream[start:end])

    assert out == messages


def test_byte_by_byte_a_message_comes_with_its_last_byte_and_not_before() -> None:
    frames, stream = Frames(), framed(A_MESSAGE)
    out = [list(frames.feed(stream[place : place + 1])) for place in range(len(stream))]

    assert out == [[]] * (len(stream) - 1) + [[A_MESSAGE]]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_message_arrives_as_what_it_is(kind: Kind) -> None:
    [message] = read(framed(Message(kind)))

    assert message == Message(kind, {}, ())
    assert message.kind is kind


def test_payloads_are_told_apart_empty_ones_too() -> None:
    [message] = read(framed(Message(Kind.JOBS, {}, [b"", b"ab", b"", b"c"])))

    assert message.payloads == (b"", b"ab", b"", b"c")


def test_an_image_of_megabytes_is_neither_copied_nor_changed() -> None:
    image = bytes(range(256)) * 20_000
    pieces = encode(Message(Kind.JOBS, {}, [image]))

    assert pieces[1] is image
    assert read(b"".join(pieces))[0].payloads == (image,)


def test_what_was_read_does_not_change_with_what_comes_after() -> None:
    frames = Frames()
    [first] = frames.feed(framed(A_MESSAGE))
    list(frames.feed(framed(Message(Kind.JOBS, {}, [b"x" * 100]))))

    assert first == A_MESSAGE


@pytest.mark.parametrize(
    ("fields", "payload"), [((1 << 24) + 1, 0), (0, (1 << 32) + 1), (1, 1 << 60), (2**32 - 1, 0)]
)
def test_a_frame_out_of_bounds_is_refused_by_its_head(fields: int, payload: int) -> None:
    with pytest.raises(ProtocolError, match=rf"{fields} \+ {payload} bytes is out of bounds"):
        read(struct.pack(">IQ", fields, payload))


def test_a_frame_as_large_as_allowed_is_waited_for() -> None:
    assert read(struct.pack(">IQ", 1 << 24, 1 << 32)) == []


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        (b"", b""),
        (b"{x", b""),
        (b"\xff\xfe", b""),
        (b"[1, 2]", b""),
        (b"{}", b""),
        (b'{"kind": "load"}', b""),
        (b'{"payloads": []}', b""),
        (b'{"kind": "mail", "payloads": []}', b""),
        (b'{"kind": 1, "payloads": []}', b""),
        (b'{"kind": ["load"], "payloads": []}', b""),
        (b'{"kind": "load", "payloads": 3}', b"abc"),
        (b'{"kind": "load", "payloads": null}', b""),
        (b'{"kind": "load", "payloads": ["3"]}', b"abc"),
        (b'{"kind": "load", "payloads": [1.5, 1.5]}', b"abc"),
        (b'{"kind": "load", "payloads": []}', b"abc"),
        (b'{"kind": "load", "payloads": [2]}', b"abc"),
        (b'{"kind": "load", "payloads": [4]}', b"abc"),
        (b"[" * 5000, b""),
    ],
)
def test_what_is_no_message_is_refused(fields: bytes, payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        read(raw(fields, payload))


def test_messages_before_one_that_is_none_are_delivered() -> None:
    arriving = Frames().feed(framed(A_MESSAGE) + raw(b"{x"))

    assert next(arriving) == A_MESSAGE
    with pytest.raises(ProtocolError):
        next(arriving)


# ── Channel ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = socket.socketpair()
    near, far = Channel(ours), Channel(theirs)
    yield near, far
    near.close()
    far.close()


@given(messages=st.lists(MESSAGES, max_size=4))
def test_what_one_end_sends_the_other_receives(messages: list[Message]) -> None:
    ours, theirs = socket.socketpair()
    near, far = Channel(ours), Channel(theirs)
    for message in messages:
        near.send(message)
    near.close()

    assert [far.receive() for _ in messages] == messages
    assert far.receive() is None
    assert far.receive() is None
    far.close()


def test_it_speaks_both_ways(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    near.send(A_MESSAGE)
    far.send(Message(Kind.READY))

    assert far.receive() == A_MESSAGE
    assert near.receive() == Message(Kind.READY)


@pytest.mark.parametrize("kept", [0, 3, 12, 20, 40])
def test_a_message_cut_short_is_the_end(kept: int) -> None:
    ours, theirs = socket.socketpair()
    far = Channel(theirs)
    with ours:
        ours.sendall(framed(A_MESSAGE)[:kept])

    assert far.receive() is None
    far.close()


def test_what_is_no_message_is_refused_here_too() -> None:
    ours, theirs = socket.socketpair()
    far = Channel(theirs)
    with ours:
        ours.sendall(raw(b"{x"))

    with pytest.raises(ProtocolError):
        far.receive()
    far.close()


def test_threads_that_send_at_once_do_not_cut_into_each_others_messages(
    ends: tuple[Channel, Channel],
) -> None:
    near, far = ends
    received = list[Message | None]()

    def read_all() -> None:
        try:
            received.extend(far.receive() for _ in range(8 * 20))
        finally:
            far.close()  # whatever went wrong, nobody waits to be read

    reading = threading.Thread(target=read_all, daemon=True)
    reading.start()

    def send(number: int) -> None:
        for turn in range(20):
            payload = bytes([number]) * 100_000
            near.send(Message(Kind.RESULTS, {"from": number, "turn": turn}, (payload,)))

    at_once(send)
    reading.join(WAIT_SECONDS)

    assert len(received) == 8 * 20
    seen: dict[int, list[int]] = {number: [] for number in range(8)}
    for message in received:
        assert message is not None
        number = message.fields["from"]
        seen[number].append(message.fields["turn"])
        assert message.payloads == (bytes([number]) * 100_000,)
    assert all(turns == list(range(20)) for turns in seen.values())


def test_sending_to_an_end_that_is_closed_is_an_error(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    far.close()

    with pytest.raises(OSError):  # noqa: PT011 - a broken pipe, or a reset
        near.send(A_MESSAGE)


def test_a_channel_that_was_closed_receives_nothing(ends: tuple[Channel, Channel]) -> None:
    near, _ = ends
    near.close()
    near.close()

    assert near.receive() is None


def test_closing_wakes_a_thread_that_waits(ends: tuple[Channel, Channel]) -> None:
    near, _ = ends
    got: Any = []
    thread = threading.Thread(target=lambda: got.append(near.receive()), daemon=True)
    thread.start()

    near.close()
    thread.join(WAIT_SECONDS)

    assert got == [None]
