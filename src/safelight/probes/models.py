"""Watch one model object: a transformers pipeline or model, or an ONNX Runtime session."""

import functools
import weakref
from collections.abc import Callable

from safelight.errors import AlreadyWatched
from safelight.probes.assign import CallCounter
from safelight.probes.disguise import disguise, probe_of, reveal
from safelight.probes.inference import Inference, around

# The methods that run the model, by a class in the object's inheritance.
_METHODS = {
    "Pipeline": ("__call__",),
    "PreTrainedModel": ("__call__", "generate"),
    "InferenceSession": ("run", "run_with_iobinding"),
}


class ModelProbe:
    """Watches a model object from its creation until `unwatch`; does not keep it alive."""

    def __init__(self, model: object, counter: CallCounter, *, name: str) -> None:
        if probe_of(model) is not None:
            raise AlreadyWatched("model")
        self._model = weakref.ref(model)
        self._counter = counter
        self._name = name
        original = type(model)
        names = [each for each in _methods(model) if hasattr(original, each)]
        members = {each: self._measured(getattr(original, each)) for each in names}
        self._original = disguise(model, self, members)

    def unwatch(self) -> None:
        """Restore the model's class; a second call does nothing."""
        reveal(self._model(), self, self._original)

    def _measured(self, method: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(method)
        def measured(model: object, *args: object, **kwargs: object) -> object:
            call = Inference(
                self._name,
                batch=_batch(args, kwargs),
                precision=str(getattr(model, "dtype", "other")).removeprefix("torch."),
                counter=self._counter,
            )
            return around(call, method, model, *args, **kwargs)

        return measured


def is_model(model: object) -> bool:
    """Return True for an object that this probe can watch."""
    return bool(_methods(model))


def name_of(model: object) -> str:
    """Return the name that the model carries, or the name of its class."""
    for holder in (model, getattr(model, "model", None)):
        name = getattr(holder, "name_or_path", None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def _methods(model: object) -> tuple[str, ...]:
    names = {each.__name__ for each in type(model).__mro__}
    return next((methods for kind, methods in _METHODS.items() if kind in names), ())


def _batch(args: tuple[object, ...], kwargs: dict[str, object]) -> int:
    """Return the number of inputs: the length of the first list, tensor or array."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, dict) and value:  # ONNX: inputs by name
            value = next(iter(value.values()))
        shape = getattr(value, "shape", None)
        if shape is not None and len(shape) > 1:
            return int(shape[0])
        if isinstance(value, list) and value:
            return len(value)
    return 1
