"""Writing messages to a worker."""

import asyncio
import socket

from safelight.serving.wire.process import Receiver, write_now
from safelight.serving.wire.protocol import Message, encode
from safelight.serving.wire.schema import Jobs

MANY = 3000  # more pieces than the kernel takes in one call


def test_a_message_of_any_number_of_pieces_arrives_whole() -> None:
    received: list[Message | None] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        hearing, _ = await loop.create_connection(lambda: Receiver(received.append), sock=theirs)
        payloads = [b"%d" % number for number in range(MANY)]
        write_now(ours, transport, encode(Message(Jobs([]), payloads)))
        transport.close()
        while not received or received[-1] is not None:  # noqa: ASYNC110 - a socket has no condition
            await asyncio.sleep(0.001)
        hearing.close()

        assert received[0] is not None
        assert list(received[0].payloads) == payloads

    asyncio.run(asyncio.wait_for(scenario(), 10))
