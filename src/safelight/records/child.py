"""The recorder process: `python -m safelight.records.child FD`, which `remote.py` starts."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from safelight.errors import BadInput, Unusable
from safelight.records.config import StoreConfig
from safelight.records.messages import (
    CALLS,
    ENCODER,
    Call,
    Failed,
    Find,
    Forget,
    Forgotten,
    Found,
    Reply,
    Tidied,
    Tidy,
    Write,
    Written,
    to_pending,
)
from safelight.records.recorder import Recorder
from safelight.records.rows import DatabaseFailed
from safelight.telemetry.helper import serve_calls


@contextmanager
def begin(config: bytes) -> Iterator[Callable[[bytes], bytes]]:
    """Open a recorder; yield the function that answers the store's calls."""
    recorder = Recorder(msgspec.msgpack.decode(config, type=StoreConfig))
    try:
        yield lambda call: ENCODER.encode(answer(recorder, CALLS.decode(call)))
    finally:
        recorder.close()


def answer(recorder: Recorder, call: Call) -> Reply:
    """Return the reply to a call."""
    try:
        return _done(recorder, call)
    except BadInput as error:
        return Failed("bad_input", str(error))
    except Unusable as error:
        return Failed("unusable", str(error))
    except DatabaseFailed as error:
        return Failed("database", str(error))


def _done(recorder: Recorder, call: Call) -> Reply:
    match call:
        case Write():
            pending, unreadable = to_pending(call)
            written, lost = recorder.write(pending)
            return Written(written, lost + unreadable)
        case Tidy():
            return Tidied(recorder.tidy(call.now))
        case Find():
            return Found(recorder.find(call.name, call.owner))
        case Forget():
            recorder.forget(*call.request_ids)
            return Forgotten()


if __name__ == "__main__":
    serve_calls(int(sys.argv[1]), begin)
