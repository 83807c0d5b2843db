"""The recorder in a process of its own: no database slows down the API process.

The process is started by the first call, and again after it ended.
"""

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
    Tidied,
    Tidy,
    Written,
    to_write,
)
from safelight.records.rows import DatabaseFailed, StoredRequest
from safelight.telemetry.helper import HelperProcess

_FIRST_SECONDS = 600.0  # the first call may upgrade the tables
_CALL_SECONDS = 30.0  # longer than a database may take for a statement

Answer = TypeVar("Answer", Written, Tidied, Found, Forgotten)


class RecorderProcess(HelperProcess):
    """A recorder whose work is done by a process. For one thread at a time.

    A process that ends or does not reply in time is ended; the call raises DatabaseFailed, and the
    next one starts another process.
    """

    def __init__(self, config: StoreConfig, *, call_seconds: float = _CALL_SECONDS) -> None:
        super().__init__(
            "safelight.records.child", ENCODER.encode(config), call_seconds, _FIRST_SECONDS
        )

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

    def _call(self, call: Call, kind: type[Answer]) -> Answer:
        try:
            reply = REPLIES.decode(self.ask(ENCODER.encode(call)))
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            self.kill()
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
