import asyncio

from safelight.libraries import Message, Scope
from safelight.probes.lifespan import Receive, Send, pass_on


async def until_shutdown(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        pass


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that does not know the protocol."""


def passed_on(app: object, *messages: str, kind: str = "lifespan") -> bool:
    waiting = list(messages)

    async def receive() -> Message:
        return {"type": waiting.pop(0)}

    async def send(message: Message) -> None: ...

    return asyncio.run(pass_on(app, {"type": kind}, receive, send))  # type: ignore[arg-type]


def test_the_end_of_a_lifespan_is_known() -> None:
    assert passed_on(until_shutdown, "lifespan.startup", "lifespan.shutdown")


def test_an_application_without_a_lifespan_is_not_shut_down() -> None:
    assert not passed_on(at_once, "lifespan.startup")


def test_a_websocket_is_no_lifespan() -> None:
    assert not passed_on(until_shutdown, "lifespan.shutdown", kind="websocket")
