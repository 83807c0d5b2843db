"""The recorder process: `python -m safelight.records.child FD`, which `remote.py` starts.

It ends when the other end of its socket is closed, and not by a signal that Ctrl-C or a service
manager sends to the whole group: the service stops first, and sends its last records.
"""

import ctypes
import gc
import os
import signal
import sys
from multiprocessing.connection import Connection

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

_NICENESS = 10
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(file: int) -> None:
    """Do what the store asks for until it closes the connection."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    # A stopped recorder goes on when its service ends, and then ends too.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    with Connection(file) as connection:
        config = msgspec.msgpack.decode(connection.recv_bytes(), type=StoreConfig)
        serve(connection, Recorder(config))


def serve(connection: Connection, recorder: Recorder) -> None:
    """Answer calls until the connection is closed."""
    gc.freeze()
    try:
        while True:
            call = CALLS.decode(connection.recv_bytes())
            connection.send_bytes(ENCODER.encode(answer(recorder, call)))
    except (EOFError, ConnectionError):
        pass
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
    main(int(sys.argv[1]))
