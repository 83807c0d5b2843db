"""Check the arguments of `watch`: one clear message says what is wrong and what to do."""

import types
from collections.abc import Collection, Mapping

from safelight.errors import BadSetting
from safelight.probes.diffusers import is_diffusion
from safelight.probes.models import is_model
from safelight.probes.options import METRICS_PATH

_NOT_OBJECTS = (str, bytes, int, float, list, tuple, set, dict, type, types.ModuleType)
_MAX_PORT = 65_535


def models_of(pipeline: object, pipelines: Mapping[str, object] | None) -> dict[str, object]:
    """Return the models by their names. Raises BadSetting for another type."""
    if pipelines is not None and not isinstance(pipelines, Mapping):
        raise BadSetting(
            f"pipelines is {_named(pipelines)}. Give a dict of names: "
            'pipelines={"base": base, "refiner": refiner}.'
        )
    if pipeline is not None and pipelines:
        raise BadSetting("Give either pipeline or pipelines, not both.")
    return dict(pipelines or {}) if pipeline is None else {"": pipeline}


def check_objects(app: object, models: Mapping[str, object]) -> None:
    """Raise BadSetting for objects that cannot be watched."""
    if app is None and not models:
        raise BadSetting(
            "watch() needs an app, a pipeline, or both: watch(app=app, pipeline=pipe)."
        )
    if app is not None:
        _check_app(app)
    for name, model in models.items():
        _check_model(model, f"pipelines[{name!r}]" if name else "pipeline")


def check_options(
    model_endpoints: object,
    failed: object,
    metrics_path: object,
    metrics_port: object,
    on_record: object,
    records: object,
) -> None:
    """Raise BadSetting for options of a wrong type."""
    if not _are_texts(model_endpoints):
        raise BadSetting(f"model_endpoints is {model_endpoints!r}. Give a list such as ['/edit'].")
    for name, function in (("failed", failed), ("on_record", on_record)):
        if function is not None and not callable(function):
            raise BadSetting(f"{name} is {_named(function)}. Give a function.")
    if not isinstance(metrics_path, str) or not metrics_path.strip("/") or metrics_path[0] != "/":
        raise BadSetting(f"metrics_path is {metrics_path!r}. Give a path such as '/metrics'.")
    if metrics_port is not None and not _is_port(metrics_port):
        raise BadSetting(f"metrics_port is {metrics_port!r}. Give a port from 1 to {_MAX_PORT}.")
    if not isinstance(records, bool):
        raise BadSetting(
            f"records is {_named(records)}. Give True or False: SAFELIGHT_RECORDS_URL names the "
            "database."
        )


def check_joined(
    failed: object,
    metrics_path: str,
    metrics_port: object,
    model_endpoints: Collection[str],
    records: object,
) -> None:
    """Raise BadSetting for options of a second watch that only the first one can have."""
    given = {
        "failed": failed is not None,
        "metrics_path": metrics_path != METRICS_PATH,
        "metrics_port": metrics_port is not None,
        "model_endpoints": bool(model_endpoints),
        "records": bool(records),
    }
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        raise BadSetting(
            f"This application is already watched. Give {', '.join(wrong)} to its first watch; a "
            "second one adds pipelines."
        )


def _are_texts(value: object) -> bool:
    if isinstance(value, str) or not isinstance(value, Collection):
        return False
    return all(isinstance(each, str) for each in value)


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_PORT


def _check_app(app: object) -> None:
    wrong = isinstance(app, (*_NOT_OBJECTS, types.FunctionType)) or not callable(app)
    if wrong or is_diffusion(app) or is_model(app):
        raise BadSetting(
            f"app is {_named(app)}. watch() supports application objects: FastAPI, Starlette, "
            "Flask, and other objects that are ASGI or WSGI applications. Put an ASGI function "
            "into a class with `async def __call__(self, scope, receive, send)`."
        )


def _check_model(model: object, argument: str) -> None:
    if isinstance(model, _NOT_OBJECTS) or not (is_diffusion(model) or is_model(model)):
        raise BadSetting(
            f"{argument} is {_named(model)}. watch() supports diffusers pipelines, transformers "
            "pipelines and models, and ONNX Runtime sessions; several go into "
            'pipelines={"base": base}. Measure any other model with safelight.inference(name).'
        )


def _named(value: object) -> str:
    """Return how a message names a wrong object."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}, not an object of it"
    return f"a {type(value).__name__}"
