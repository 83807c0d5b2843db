"""How a name becomes a model. The door to the heavy libraries, opened late."""

from importlib import import_module

from safelight.errors import MissingExtra
from safelight.models.backend import Backend, ModelOrder


def load_backend(order: ModelOrder) -> Backend:
    """Load a model. Raises ModelNotFound or MissingExtra, saying what to do."""
    try:
        # By name, so that importing this room does not mean importing torch.
        edit = import_module("safelight.models.edit")
    except ModuleNotFoundError as missing:
        raise MissingExtra("models", missing.name or "diffusers") from missing
    backend: Backend = edit.load_edit(order)
    return backend
