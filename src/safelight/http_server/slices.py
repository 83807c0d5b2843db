"""Send large responses in slices, each when the caller has read most of those before it.

A server copies what a caller does not read. Responses that repeat an answer share its bytes, so
slices bound the memory of a connection, and not the size of what it asked for.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SLICE_BYTES = 64 * 1024


def in_slices(app: ASGIApp) -> ASGIApp:
    """Wrap an application, so that no message has a larger piece of a body."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_slices(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= SLICE_BYTES:
                await send(message)
                return
            last = (len(body) - 1) // SLICE_BYTES * SLICE_BYTES
            for start in range(0, last, SLICE_BYTES):
                piece = body[start : start + SLICE_BYTES]
                await send({**message, "body": piece, "more_body": True})
            await send({**message, "body": body[last:]})

        await app(scope, receive, send_slices)

    return serve
