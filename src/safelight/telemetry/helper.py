"""A process of low CPU priority that does work for a service and answers its calls, one at a time.

It ends when the service closes the connection, and not by a signal that Ctrl-C or a service manager
sends to the whole group: the service stops first, and makes its last calls.
"""

import ctypes
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection

Begin = Callable[[bytes], AbstractContextManager[Callable[[bytes], bytes]]]

_STOP_SECONDS = 5.0
_NICENESS = 10
_PR_SET_PDEATHSIG = 1  # prctl(2)
# Nothing is forked meanwhile: it would keep both ends of the socket open, and the helper alive.
_STARTING = threading.Lock()


class HelperProcess:
    """A helper that the first call starts, and a later one again if it has ended.

    For one thread at a time; only `kill` is for any. A helper that does not reply in time is ended.
    """

    def __init__(
        self, module: str, config: bytes, call_seconds: float, first_seconds: float | None = None
    ) -> None:
        """`module` calls `serve_calls` when it is run; `config` is its first message.

        A reply may take `call_seconds`, the first one `first_seconds`.
        """
        self._first_seconds = call_seconds if first_seconds is None else first_seconds
        self._module = module
        self._config = config
        self._call_seconds = call_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._is_new = True
        _HELPERS.add(self)

    @property
    def pid(self) -> int | None:
        """Return the process's id while it runs."""
        return self._process.pid if self._process is not None else None

    def ask(self, call: bytes) -> bytes:
        """Return the reply to a call. After an error, end the helper before the next call.

        Raises OSError, EOFError.
        """
        connection = self._connection or self._start()
        connection.send_bytes(call)
        if not connection.poll(self._first_seconds if self._is_new else self._call_seconds):
            raise TimeoutError
        self._is_new = False
        return connection.recv_bytes()

    def close(self) -> None:
        """End the process, by force if it is busy; the next call starts another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def abandon(self) -> None:
        """Leave the helper to the process that forked this one."""
        if self._connection is not None:
            with suppress(OSError):  # another thread may be closing it
                self._connection.close()
        if self._process is not None:
            self._process.returncode = 0  # it is not a child of this process
        self._connection = self._process = None

    def kill(self) -> None:
        """End the process at once."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> Connection:
        with _STARTING:
            connection = self._connection = self._open()
        self._is_new = True
        connection.send_bytes(self._config)
        return connection

    def _open(self) -> Connection:
        from safelight.settings import program_environment  # here: a helper needs no settings

        own, other = socket.socketpair()
        with other:
            whole, part = divmod(self._call_seconds, 1)
            timeout = struct.pack("ll", int(whole), int(part * 1e6))  # a timeval
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(other.fileno())],
                pass_fds=[other.fileno()],
                env=program_environment(),
            )
        return Connection(own.detach())


def serve_calls(file: int, begin: Begin) -> None:
    """Answer the calls of the service at the other end of a socket, until it closes it.

    `begin` gets the configuration. Its `with` block has the function that answers a call.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    # A stopped helper goes on when its service ends, and then ends too.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    with (
        Connection(file) as connection,
        suppress(EOFError, ConnectionError),
        begin(connection.recv_bytes()) as answer,
    ):
        gc.freeze()
        while True:
            connection.send_bytes(answer(connection.recv_bytes()))


_HELPERS: weakref.WeakSet[HelperProcess] = weakref.WeakSet()


def _after_fork() -> None:
    _STARTING.release()
    for helper in list(_HELPERS):
        helper.abandon()


os.register_at_fork(
    before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_after_fork
)
