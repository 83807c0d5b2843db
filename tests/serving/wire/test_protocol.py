"""Messages between the API process and a worker."""

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from safelight.guard.pairs import Qualities
from safelight.models.backend import ModelInfo, ModelOrder
from safelight.serving.wire.protocol import Channel, Frames, Message, ProtocolError, encode
from safelight.serving.wire.schema import (
    Assessed,
    AssessmentFailed,
    BatchReport,
    Cancel,
    Compare,
    Compared,
    Content,
    FailedResult,
    Follow,
    GenerateTask,
    ImageResult,
    Jobs,
    LabelsResult,
    Load,
    MemoryReport,
    OutputLimits,
    Ping,
    Poisoned,
    Pong,
    PredictTask,
    Ready,
    Results,
    SamplingPlan,
    Started,
    Step,
    Unusable,
)
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import PipelineCall
from safelight.telemetry.vram import Vram
from tests.reading import at_once
from tests.serving.prepared import an_order

WAIT_SECONDS = 30.0
CONTENTS = st.one_of(
    st.builds(Cancel, id=st.text()),
    st.builds(Follow, id=st.text(), preview_every=st.integers(0, 2**31)),
    st.builds(Started, ids=st.lists(st.text(), max_size=3)),
    st.builds(Step, ids=st.lists(st.text(), max_size=3), step=st.integers(0, 1000)),
    st.builds(Unusable, detail=st.text(), exit_code=st.integers(0, 255)),
    st.builds(
        Results,
        results=st.lists(
            st.builds(
                FailedResult,
                id=st.text(),
                parts=st.lists(st.tuples(st.text(), st.floats(allow_nan=False)), max_size=3),
                call=st.none(),
                entropy_bits=st.none(),
                reason=st.text(),
                detail=st.text(),
                invalidity=st.none() | st.text(),
            ),
            max_size=2,
        ),
    ),
)
MESSAGES = st.builds(
    Message, content=CONTENTS, payloads=st.lists(st.binary(max_size=40), max_size=4).map(tuple)
)
CALL = PipelineCall(
    "StableDiffusionPipeline", phases={"denoise": 1.5}, step_seconds=(0.1, 0.2), images=((64, 64),)
)
ORDER = an_order("1")
LOAD = Load(
    ModelOrder("demo-edit"), 5.0, 10**6, OutputLimits(8, 1.0, 0.25), SamplingPlan(0.1, True, "")
)
IMAGE = ImageResult(
    "1", 2.5, [("decode", 0.1)], CALL, 7.25, (64, 32), truncated=False, corrupted=True
)
EVERY_CONTENT: list[Content] = [
    LOAD,
    Jobs(
        [ORDER, an_order("2", GenerateTask("a cat", "", 8, 0.0, 7)), an_order("3", PredictTask(5))]
    ),
    Cancel("1"),
    Follow("1", 5),
    Ping(),
    Pong(),
    Compare(ORDER),
    Compared("1", Qualities(0.5, 0.6, None), Qualities(), 0.25),
    Ready(ModelInfo("m", "P", "S", "float16", "cuda:0", defaults={"steps": 8}), "edit", 2.5),
    Unusable("no such folder", 4),
    Started(["1", "2"]),
    Step(["1"], 3),
    Results(
        [
            IMAGE,
            LabelsResult("2", 2.5, [], None, None, [("cat", 0.5)]),
            FailedResult("3", 2.5, [], None, None, "cuda_oom", "too large", None),
        ],
        BatchReport(["1", "2"], 0.5, "cap", complete=True, fits=None),
        ["diffusers"],
        2,
    ),
    Assessed(Assessment("r", "make_him_old", score=0.5)),
    AssessmentFailed(),
    Poisoned(),
    MemoryReport([Vram("cuda:0", 3, 5, 4, 10)]),
]
A_MESSAGE = Message(Started(["1"]), (b"image", b"", b"more"))


def framed(*messages: Message) -> bytes:
    return b"".join(piece for message in messages for piece in encode(message))


def raw(fields: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">IQ", len(fields), len(payload)) + fields + payload


def read(data: bytes) -> list[Message]:
    return list(Frames().feed(data))


def test_whole_numbers_of_a_models_defaults_stay_whole() -> None:
    defaults = {"steps": 8, "guidance_scale": 7.5}
    ready = Ready(ModelInfo("m", "P", "S", "float16", "cuda:0", defaults=defaults), "edit", 2.5)
    (message,) = read(framed(Message(ready)))
    assert isinstance(message.content, Ready)
    assert repr(dict(message.content.model.defaults)) == repr(defaults)


# ── Frames ───────────────────────────────────────────────────────────────────────────────────────


@given(messages=st.lists(MESSAGES, max_size=4), data=st.data())
def test_however_a_stream_is_cut_the_same_messages_come_out(
    messages: list[Message], data: st.DataObject
) -> None:
    stream = framed(*messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    frames, out = Frames(), list[Message]()

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += frames.feed(stream[start:end])

    assert out == messages


def test_byte_by_byte_a_message_comes_with_its_last_byte_and_not_before() -> None:
    frames, stream = Frames(), framed(A_MESSAGE)
    out = [list(frames.feed(stream[place : place + 1])) for place in range(len(stream))]

    assert out == [[]] * (len(stream) - 1) + [[A_MESSAGE]]


@pytest.mark.parametrize("content", EVERY_CONTENT, ids=lambda content: type(content).__name__)
def test_every_message_arrives_with_its_type_and_all_its_values(content: Content) -> None:
    [message] = read(framed(Message(content)))

    assert message == Message(content, ())
    assert type(message.content) is type(content)


def test_every_type_of_message_is_tested_here() -> None:
    assert {type(content) for content in EVERY_CONTENT} == set(get_args(Content))


def test_empty_payloads_keep_their_place() -> None:
    [message] = read(framed(Message(Jobs([]), [b"", b"ab", b"", b"c"])))

    assert message.payloads == (b"", b"ab", b"", b"c")


def test_an_image_of_megabytes_is_neither_copied_nor_changed() -> None:
    image = bytes(range(256)) * 20_000
    pieces = encode(Message(Jobs([]), [image]))

    assert pieces[1] is image
    assert read(b"".join(pieces))[0].payloads == (image,)


def test_a_message_does_not_change_when_later_data_arrives() -> None:
    frames = Frames()
    [first] = frames.feed(framed(A_MESSAGE))
    list(frames.feed(framed(Message(Jobs([]), [b"x" * 100]))))

    assert first == A_MESSAGE


@pytest.mark.parametrize(
    ("fields", "payload"), [((1 << 24) + 1, 0), (0, (1 << 32) + 1), (1, 1 << 60), (2**32 - 1, 0)]
)
def test_a_frame_out_of_bounds_is_refused_by_its_head(fields: int, payload: int) -> None:
    with pytest.raises(ProtocolError, match=rf"{fields} \+ {payload} bytes is out of bounds"):
        read(struct.pack(">IQ", fields, payload))


def test_a_frame_as_large_as_allowed_is_waited_for() -> None:
    assert read(struct.pack(">IQ", 1 << 24, 1 << 32)) == []


def packed(*values: object) -> bytes:
    return msgpack.encode(values)


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b"", b""),
        (b"{x", b""),
        (b"\xff\xfe", b""),
        (msgpack.encode({}), b""),
        (packed(), b""),
        (packed({"type": "poisoned"}), b""),
        (packed({}, []), b""),
        (packed({"type": "mail"}, []), b""),
        (packed({"type": 1}, []), b""),
        (packed({"type": ["load"]}, []), b""),
        (packed({"type": "load"}, []), b""),
        (packed({"type": "cancel", "id": 7}, []), b""),
        (packed({"type": "poisoned"}, 3), b"abc"),
        (packed({"type": "poisoned"}, None), b""),
        (packed({"type": "poisoned"}, ["3"]), b"abc"),
        (packed({"type": "poisoned"}, [1.5, 1.5]), b"abc"),
        (packed({"type": "poisoned"}, []), b"abc"),
        (packed({"type": "poisoned"}, [2]), b"abc"),
        (packed({"type": "poisoned"}, [4]), b"abc"),
        (packed({"type": "poisoned"}, [-1, 4]), b"abc"),
        (b"\x91" * 5000, b""),
    ],
)
def test_bytes_that_are_not_a_message_are_refused(header: bytes, payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        read(raw(header, payload))


def test_messages_before_an_invalid_one_are_delivered() -> None:
    arriving = Frames().feed(framed(A_MESSAGE) + raw(b"{x"))

    assert next(arriving) == A_MESSAGE
    with pytest.raises(ProtocolError):
        next(arriving)


# ── Channel ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = socket.socketpair()
    near, far = Channel(ours), Channel(theirs)
    yield near, far
    near.close()
    far.close()


@given(messages=st.lists(MESSAGES, max_size=4))
def test_a_channel_receives_what_the_other_end_sends(messages: list[Message]) -> None:
    ours, theirs = socket.socketpair()
    near, far = Channel(ours), Channel(theirs)
    for message in messages:
        near.send(message)
    near.close()

    assert [far.receive() for _ in messages] == messages
    assert far.receive() is None
    assert far.receive() is None
    far.close()


def test_it_speaks_both_ways(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    near.send(A_MESSAGE)
    far.send(Message(Poisoned()))

    assert far.receive() == A_MESSAGE
    assert near.receive() == Message(Poisoned())


@pytest.mark.parametrize("kept", [0, 3, 12, 20, 40])
def test_a_message_cut_short_is_the_end(kept: int) -> None:
    ours, theirs = socket.socketpair()
    far = Channel(theirs)
    with ours:
        ours.sendall(framed(A_MESSAGE)[:kept])

    assert far.receive() is None
    far.close()


def test_a_channel_refuses_invalid_data() -> None:
    ours, theirs = socket.socketpair()
    far = Channel(theirs)
    with ours:
        ours.sendall(raw(b"{x"))

    with pytest.raises(ProtocolError):
        far.receive()
    far.close()


def test_threads_that_send_at_once_do_not_cut_into_each_others_messages(
    ends: tuple[Channel, Channel],
) -> None:
    near, far = ends
    received = list[Message | None]()

    def read_all() -> None:
        try:
            received.extend(far.receive() for _ in range(8 * 20))
        finally:
            far.close()  # whatever went wrong, nobody waits to be read

    reading = threading.Thread(target=read_all, daemon=True)
    reading.start()

    def send(number: int) -> None:
        for turn in range(20):
            payload = bytes([number]) * 100_000
            near.send(Message(Step([str(number)], turn), (payload,)))

    at_once(send)
    reading.join(WAIT_SECONDS)

    assert len(received) == 8 * 20
    seen: dict[int, list[int]] = {number: [] for number in range(8)}
    for message in received:
        assert message is not None
        assert isinstance(message.content, Step)
        number = int(message.content.ids[0])
        seen[number].append(message.content.step)
        assert message.payloads == (bytes([number]) * 100_000,)
    assert all(turns == list(range(20)) for turns in seen.values())


def test_sending_to_an_end_that_is_closed_is_an_error(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    far.close()

    with pytest.raises(OSError):  # noqa: PT011 - a broken pipe, or a reset
        near.send(A_MESSAGE)


def test_a_channel_that_was_closed_receives_nothing(ends: tuple[Channel, Channel]) -> None:
    near, _ = ends
    near.close()
    near.close()

    assert near.receive() is None


def test_closing_wakes_a_thread_that_waits(ends: tuple[Channel, Channel]) -> None:
    near, _ = ends
    got: Any = []
    thread = threading.Thread(target=lambda: got.append(near.receive()), daemon=True)
    thread.start()

    near.close()
    thread.join(WAIT_SECONDS)

    assert got == [None]
