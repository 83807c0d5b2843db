"""Watch one model object: a transformers pipeline or model, or an ONNX Runtime session."""

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from safelight.errors import AlreadyWatched
from safelight.probes.assign import CallCounter
from safelight.probes.disguise import disguise, probe_of, reveal
from safelight.probes.inference import Inference
from safelight.probes.measured import around
from safelight.reasons import reason_of_exception

_INPUTS = ("inputs", "images", "image", "text_inputs", "text")
_ANY = ()

# The methods that run the model, by a class in the object's inheritance: which argument is its
# input, by position or name. Others may be lists too: names of outputs, candidate labels.
_METHODS: dict[str, dict[str, tuple[int, Sequence[str]]]] = {
    "Pipeline": {"__call__": (0, _INPUTS)},
    "PreTrainedModel": {"__call__": (0, _ANY), "generate": (0, _ANY)},
    "InferenceSession": {
        "run": (1, ("input_feed",)),
        "run_with_ort_values": (1, ("input_dict_ort_values",)),
        "run_with_iobinding": (0, ("iobinding",)),
        "run_async": (1, ("input_feed",)),
    },
}
_CALLBACK_POSITION = 2  # of `run_async`


class ModelProbe:
    """Watches a model object from its creation until `unwatch`; does not keep it alive."""

    def __init__(self, model: object, counter: CallCounter, *, name: str) -> None:
        if probe_of(model) is not None:
            raise AlreadyWatched("model")
        self._model = weakref.ref(model)
        self._counter = counter
        self._name = name
        original = type(model)
        members = {
            each: self._measured(getattr(original, each), *where)
            for each, where in _methods(model).items()
            if hasattr(original, each)
        }
        self._original = disguise(model, self, members)

    def unwatch(self) -> None:
        """Restore the model's class; a second call does nothing."""
        reveal(self._model(), self, self._original)

    def _measured(
        self, method: Callable[..., object], position: int, names: Sequence[str]
    ) -> Callable[..., object]:
        run = _until_its_callback if method.__name__ == "run_async" else around

        @functools.wraps(method)
        def measured(model: object, *args: object, **kwargs: object) -> object:
            batch = 1
            with self._counter.guard:
                batch = _batch(_input(position, names, args, kwargs))
            call = Inference(
                self._name,
                batch=batch,
                precision=str(getattr(model, "dtype", "other")).removeprefix("torch."),
                counter=self._counter,
            )
            return run(call, method, model, *args, **kwargs)

        return measured


def is_model(model: object) -> bool:
    """Return True for an object that this probe can watch."""
    return bool(_methods(model))


def _methods(model: object) -> dict[str, tuple[int, Sequence[str]]]:
    names = {each.__name__ for each in type(model).__mro__}
    return next((methods for kind, methods in _METHODS.items() if kind in names), {})


def _until_its_callback(
    call: Inference, method: Callable[..., object], model: object, *args: object, **kwargs: object
) -> object:
    """Start a session that calls back from a thread of its own when it has the results."""
    arguments = list(args)
    named = len(arguments) <= _CALLBACK_POSITION
    given = kwargs["callback"] if named else arguments[_CALLBACK_POSITION]
    callback = cast("Callable[..., object]", given)

    def finished(results: object, data: object, error: str) -> object:
        if error:
            call.fail(reason_of_exception(RuntimeError(error), default="model_error"))
        call.__exit__(None, None, None)
        return callback(results, data, error)

    if named:
        kwargs["callback"] = finished
    else:
        arguments[_CALLBACK_POSITION] = finished
    call.__enter__()
    try:
        return method(model, *arguments, **kwargs)
    except BaseException as error:
        call.__exit__(type(error), error, None)
        raise


def _input(
    position: int, names: Sequence[str], args: Sequence[object], kwargs: Mapping[str, object]
) -> object:
    if len(args) > position:
        return args[position]
    return next((kwargs[name] for name in names if name in kwargs), None) if names else kwargs


def _batch(inputs: object) -> int:
    """Return the number of inputs in a list, a tensor, an array, or a dict of them."""
    if isinstance(inputs, dict):  # some values are numbers, such as a threshold
        return next((count for each in inputs.values() if (count := _length(each))), 1)
    return _length(inputs) or 1


def _length(value: object) -> int:
    """Return the length of a list or of a batch of tensors; 0 for another value."""
    if isinstance(value, list | tuple):
        is_chat = bool(value) and isinstance(value[0], dict) and "role" in value[0]
        return 1 if is_chat else len(value)
    shape = getattr(value, "shape", ())
    shape = tuple(shape() if callable(shape) else shape)  # a function of ONNX Runtime's own values
    return int(shape[0]) if len(shape) > 1 else 0
