"""Notice when a server shuts an ASGI application down, from its lifespan messages."""

from collections.abc import Awaitable, Callable

from safelight.libraries import Message, Scope

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def pass_on(app: App, scope: Scope, receive: Receive, send: Send) -> bool:
    """Serve a connection that is not HTTP. Return True if the application was shut down."""
    last = ""

    async def noted() -> Message:
        nonlocal last
        message = await receive()
        last = message["type"]
        return message

    await app(scope, noted if scope["type"] == "lifespan" else receive, send)
    return last == "lifespan.shutdown"
