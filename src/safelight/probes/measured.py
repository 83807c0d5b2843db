"""Measure functions as model calls, also those with results that are produced later (generators).

Such results are coroutines, generators, and what transformers returns for a generator or a data
set. Their call begins when somebody begins to read them, and has the time of their parts only.
"""

import functools
import inspect
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

from safelight.probes.disguise import disguise
from safelight.probes.inference import Inference

P = ParamSpec("P")
R = TypeVar("R")
Got = TypeVar("Got")
Sent = TypeVar("Sent")

_INSIDE: ContextVar[frozenset[str]] = ContextVar("safelight_inside", default=frozenset())


def measured(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Measure every call of the decorated function as a call of the model.

    The function may be sync, async, or a generator.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Inference(name):
                    return await function(*args, **kwargs)

            return asynchronous  # type: ignore[return-value]

        @functools.wraps(function)
        def synchronous(*args: P.args, **kwargs: P.kwargs) -> R:
            return _run(Inference(name), function, *args, **kwargs)

        return synchronous

    return decorate


def around(
    call: Inference, function: Callable[..., object], *args: object, **kwargs: object
) -> object:
    """Run a function as one call of the model; calls inside it are part of it."""
    inside = _INSIDE.get()
    if call.name in inside:
        return function(*args, **kwargs)
    token = _INSIDE.set(inside | {call.name})
    try:
        return _run(call, function, *args, **kwargs)
    finally:
        _INSIDE.reset(token)


def _run(call: Inference, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with call:
        result = function(*args, **kwargs)
        measure = next((measure for kind, measure in _LATER if kind(result)), None)
        if measure is None:
            return result
        call.discard()
    return cast("R", measure(call, result))


async def _awaited(call: Inference, result: Coroutine[object, object, R]) -> R:
    with call:
        return await result


def _generated(call: Inference, parts: Generator[Got, Sent, R]) -> Generator[Got, Sent, R]:
    with call:
        go_on: Callable[..., Got] = parts.send
        value: object = None
        while True:
            try:
                part = go_on(value)
            except StopIteration as end:
                return cast("R", end.value)
            call.pause()
            try:
                go_on, value = parts.send, (yield part)
            except GeneratorExit:
                parts.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                go_on, value = parts.throw, error
            call.resume()


async def _generated_async(
    call: Inference, parts: AsyncGenerator[Got, Sent]
) -> AsyncGenerator[Got, Sent]:
    with call:
        go_on: Callable[..., Awaitable[Got]] = parts.asend
        value: object = None
        while True:
            try:
                part = await go_on(value)
            except StopAsyncIteration:
                return
            call.pause()
            try:
                go_on, value = parts.asend, (yield part)
            except GeneratorExit:
                await parts.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                go_on, value = parts.athrow, error
            call.resume()


def _iterated(call: Inference, parts: Iterator[Got]) -> Iterator[Got]:
    """Measure an iterator of transformers. It stays what it is: it has a length, for tqdm."""
    call.batch = 0
    take = type(parts).__next__

    def following(self: Iterator[Got]) -> Got:
        if call.begun:
            call.resume()
        else:
            call.batch = 0
            call.__enter__()
        try:
            part = take(self)
        except StopIteration:
            end()
            raise
        except BaseException as error:
            call.__exit__(type(error), error, None)
            raise
        call.batch += 1
        call.pause()
        return part

    def end() -> None:
        call.__exit__(None, None, None)

    disguise(parts, call, {"__next__": following})
    weakref.finalize(parts, end).atexit = False  # its reader may stop before the last part
    return parts


def _is_iterator_of_transformers(result: object) -> bool:
    return any(each.__name__ == "PipelineIterator" for each in type(result).__mro__)


_LATER: tuple[tuple[Callable[[object], bool], Callable[..., object]], ...] = (
    (inspect.iscoroutine, _awaited),
    (inspect.isgenerator, _generated),
    (inspect.isasyncgen, _generated_async),
    (_is_iterator_of_transformers, _iterated),
)
