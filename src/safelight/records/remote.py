"""The recorder in a process of its own: no database slows down the API process.

The process has a low CPU priority. It is started by the first call, and again after it ended.
"""

import os
import socket
import struct
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

import msgspec

from safelight.errors import InvalidParameter, RecordsUnusable
from safelight.records.buffer import Pending
from safelight.records.config import StoreConfig
from safelight.records.messages import (
    ENCODER,
    REPLIES,
    Call,
    Failed,
    Find,
    Forget,
    Forgotten,
    Found,
    Reply,
    Tidied,
    Tidy,
    Written,
    to_write,
)
from safelight.records.rows import DatabaseFailed, StoredRequest
from safelight.settings import program_environment

_FIRST_SECONDS = 600.0  # the first call may upgrade the tables
_CALL_SECONDS = 30.0  # longer than a database may take for a statement
_STOP_SECONDS = 5.0
# Nothing is forked meanwhile: it would keep both ends of the socket open, and the recorder alive.
_STARTING = threading.Lock()

Answer = TypeVar("Answer", Written, Tidied, Found, Forgotten)


class RecorderProcess:
    """A recorder whose work is done by a process. For one thread at a time.

    A process that ends or does not reply in time is ended; the call raises DatabaseFailed, and the
    next one starts another process.
    """

    def __init__(self, config: StoreConfig, *, call_seconds: float = _CALL_SECONDS) -> None:
        self._config = config
        self._call_seconds = call_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._is_new = True
        _RECORDERS.add(self)

    @property
    def pid(self) -> int | None:
        """Return the process's id while it runs."""
        return self._process.pid if self._process is not None else None

    def write(self, pending: Pending) -> tuple[int, int]:
        """Write entries in one transaction; return (written, lost)."""
        reply = self._call(to_write(pending), Written)
        return reply.written, reply.lost

    def tidy(self, now: float) -> bool:
        """Delete rows above the limits at a Unix time. Return whether there are more."""
        return self._call(Tidy(now), Tidied).more

    def find(self, name: str, owner: str) -> list[StoredRequest]:
        """Return an owner's requests with an id or key, the newest first."""
        return self._call(Find(name, owner), Found).requests

    def forget(self, *request_ids: str) -> None:
        """Delete all rows of some requests."""
        self._call(Forget(request_ids), Forgotten)

    def close(self) -> None:
        """End the process, by force if it is busy; the next call starts another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill()
            self._process = None

    def abandon(self) -> None:
        """Leave the recorder to the process that forked this one."""
        if self._connection is not None:
            with suppress(OSError):  # another thread may be closing it
                self._connection.close()
        if self._process is not None:
            self._process.returncode = 0  # it is not a child of this process
        self._connection = self._process = None

    def _call(self, call: Call, kind: type[Answer]) -> Answer:
        try:
            reply = self._reply(call)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            self._kill()
            self.close()
            raise DatabaseFailed(
                f"The recorder process ended or did not reply ({type(error).__name__}); it is "
                "started again"
            ) from error
        match reply:
            case Failed(kind="bad_input"):
                raise InvalidParameter(reply.message)
            case Failed(kind="unusable"):
                raise RecordsUnusable(reply.message)
            case Failed():
                raise DatabaseFailed(reply.message)
        assert isinstance(reply, kind)
        return reply

    def _reply(self, call: Call) -> Reply:
        connection = self._connection or self._start()
        connection.send_bytes(ENCODER.encode(call))
        if not connection.poll(_FIRST_SECONDS if self._is_new else self._call_seconds):
            raise TimeoutError
        self._is_new = False
        return REPLIES.decode(connection.recv_bytes())

    def _start(self) -> Connection:
        with _STARTING:
            connection = self._connection = self._open()
        self._is_new = True
        connection.send_bytes(ENCODER.encode(self._config))
        return connection

    def _open(self) -> Connection:
        own, other = socket.socketpair()
        with other:
            whole, part = divmod(self._call_seconds, 1)
            timeout = struct.pack("ll", int(whole), int(part * 1e6))  # a timeval
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "safelight.records.child", str(other.fileno())],
                pass_fds=[other.fileno()],
                env=program_environment(),
            )
        return Connection(own.detach())

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


_RECORDERS: weakref.WeakSet[RecorderProcess] = weakref.WeakSet()


def _after_fork() -> None:
    _STARTING.release()
    for recorder in list(_RECORDERS):
        recorder.abandon()


os.register_at_fork(
    before=_STARTING.acquire, after_in_parent=_STARTING.release, after_in_child=_after_fork
)
