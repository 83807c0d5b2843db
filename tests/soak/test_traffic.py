"""A soak knows which of the requests whose callers left had arrived."""

import asyncio
import socket
from random import Random

import httpx
import pytest

from tests.soak import traffic
from tests.soak.traffic import CANCELLED, Traffic

pytestmark = pytest.mark.anyio


async def leave(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> Traffic:
    """Send one request to a server that does not answer, and leave."""
    monkeypatch.setattr(traffic, "_LONGEST_WAIT_SECONDS", 0.2)
    host, port = listener.getsockname()
    sending = Traffic(f"http://{host}:{port}", "/predict", {})
    async with httpx.AsyncClient(base_url=sending.url) as http:
        sending.sent[CANCELLED] += 1
        assert await sending._send(http, CANCELLED, Random(1)) is None
    return sending


async def test_a_request_whose_headers_were_sent_must_be_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts
        sent = await leave(monkeypatch, listener)
    assert (sent.arrived, sent.unsent, sent.unsure) == (1, 0, 0)


async def test_a_request_without_a_connection_need_not_be_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = await asyncio.open_connection(*full.getsockname())
        sent = await leave(monkeypatch, full)
        place[1].close()
    assert (sent.arrived, sent.unsent, sent.unsure) == (0, 1, 0)
