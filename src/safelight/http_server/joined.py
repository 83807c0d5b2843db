"""Send the headers of a response with the first piece of its body: one system call, not two."""

from asyncio import BaseProtocol, Transport, get_running_loop

_HEAD = b"HTTP/1.1 "


class Joined(Transport):
    """A connection's transport that holds headers back until its event loop's next turn."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = get_running_loop()
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece of a response, after headers that were held back."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data[: len(_HEAD)] == _HEAD:
            self._head = bytes(data)
            self._loop.call_soon(self._flush)  # the body may come much later, or never
            return
        self._transport.write(data)

    def _flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection once all is sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._flush()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closes."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the caller has not read."""
        return len(self._head) + self._transport.get_write_buffer_size()

    def set_protocol(self, protocol: BaseProtocol) -> None:
        """Let another protocol have the connection."""
        self._flush()
        self._transport.set_protocol(protocol)
