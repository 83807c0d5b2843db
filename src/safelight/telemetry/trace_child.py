"""The process that sends traces: `python -m safelight.telemetry.trace_child FD`.

To make and encode the spans of one request takes 200 µs. In the API process, that would be half of
what a request costs there.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from safelight.telemetry.helper import serve_calls
from safelight.telemetry.otlp import Receiver
from safelight.telemetry.record import Record
from safelight.telemetry.spans import Span, batch_span, spans_of
from safelight.telemetry.trace_sender import Ended, Send, Sent, Target

_ENDED = msgspec.msgpack.Decoder(Ended)
_COLLECT_AFTER = 100_000  # objects; spans have no cycles


class Sender:
    """Makes spans of Records and sends them."""

    def __init__(self, receiver: Receiver, model: str) -> None:
        self._receiver = receiver
        self._model = model
        self._batches: dict[str, tuple[Span, bool]] = {}

    def answer(self, call: Send) -> Sent:
        """Send the spans of Records, and of batches whose requests have all ended."""
        requests: list[tuple[Sequence[Span], str]] = []
        for each in call.ended:
            with suppress(ValueError, msgspec.MsgspecError):  # one that is odd is lost alone
                requests.append(self._request(*_ENDED.decode(each)))
        number = len(requests)
        if call.is_last:
            requests += [([span], "") for span in self._ended_batches(every=call.is_end)]
        complaint = self._receiver.send(requests) if requests else ""
        lost = len(call.ended) - (0 if complaint else number)
        return Sent(lost, complaint, len(self._batches))

    def _request(self, record: Record, ended: int) -> tuple[Sequence[Span], str]:
        """Return the spans of a request, and the `tracestate` of its trace."""
        trace, spans = record.facts.trace, spans_of(record, ended, self._model)
        self._note_batches(record, spans)
        return spans, trace.state if trace is not None else ""

    def _note_batches(self, record: Record, spans: list[Span]) -> None:
        """Link the span of a request's batch to the request."""
        for call in record.calls:
            if call.batch_id:
                found = self._batches.get(call.batch_id)
                span = batch_span(call, spans) if found is None else found[0]
                span.links.append(spans[0].place)
                self._batches[call.batch_id] = span, False

    def _ended_batches(self, *, every: bool) -> list[Span]:
        """Return the batches that no request was added to since the last look, or all."""
        ended = [span for span, is_old in self._batches.values() if is_old or every]
        rest = {} if every else self._batches
        self._batches = {name: (span, True) for name, (span, is_old) in rest.items() if not is_old}
        return ended


@contextmanager
def begin(config: bytes) -> Iterator[Callable[[bytes], bytes]]:
    """Connect to a receiver; yield the function that answers calls."""
    gc.set_threshold(_COLLECT_AFTER)
    target = msgspec.msgpack.decode(config, type=Target)
    receiver = Receiver(target.endpoint, target.protocol, target.resource)
    sender = Sender(receiver, target.model)
    calls = msgspec.msgpack.Decoder(Send)
    try:
        yield lambda call: msgspec.msgpack.encode(sender.answer(calls.decode(call)))
    finally:
        receiver.close()


if __name__ == "__main__":
    serve_calls(int(sys.argv[1]), begin)
