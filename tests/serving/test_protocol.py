"""Messages between parent and worker."""

import asyncio
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.protocol import Channel, Kind, Message, ProtocolError, encode_head, receive

FIELDS = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name != "kind"), st.integers(-1000, 1000) | st.text()
)


@given(kind=st.sampled_from(Kind), fields=FIELDS, payload=st.binary(max_size=4096))
def test_what_one_end_sends_the_other_receives(
    kind: Kind, fields: dict[str, Any], payload: bytes
) -> None:
    ours, theirs = socket.socketpair()
    near, far = Channel(ours), Channel(theirs)
    near.send(Message(kind, fields, payload))
    near.close()

    assert far.receive() == Message(kind, fields, payload)
    assert far.receive() is None
    far.close()


def read(data: bytes) -> Message | None:
    async def reading() -> Message | None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await receive(reader)

    return asyncio.run(reading())


def test_the_parent_reads_what_a_worker_sends() -> None:
    message = Message(Kind.DONE, {"id": "1"}, b"image")

    assert read(encode_head(message) + message.payload) == message


@pytest.mark.parametrize("kept", [0, 3, 12, 20, 40])
def test_a_message_cut_short_is_the_end(kept: int) -> None:
    message = Message(Kind.DONE, {"id": "1"}, b"x" * 100)

    assert read((encode_head(message) + message.payload)[:kept]) is None


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="out of bounds"):
        read(struct.pack(">IQ", 1, 1 << 60))
    with pytest.raises(ProtocolError, match="cannot be read"):
        read(struct.pack(">IQ", 2, 0) + b"{x")
    with pytest.raises(ProtocolError, match="cannot be read"):
        read(struct.pack(">IQ", 16, 0) + b'{"kind": "mail"}')
