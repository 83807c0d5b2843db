"""How a name becomes a model. The door to the heavy libraries, opened late."""

import logging
import re
from importlib import import_module
from typing import Any

from safelight.errors import MissingExtra, ModelNotFound
from safelight.models.backend import Backend, ModelOrder
from safelight.models.source import source_of

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def load_backend(order: ModelOrder) -> Backend:
    """Load a model, or call the factory that `package.module:function` names.

    Raises ModelNotFound or MissingExtra, saying what to do.
    """
    if _FACTORY.fullmatch(order.model):
        return _from_factory(order)
    # torchao tells at length, as it is imported, of parts that nobody here uses.
    for chatty in ("torchao", "torch.utils._pytree", "diffusers.quantizers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        source = source_of(order)
        # By name, so that importing this room does not mean importing torch.
        families = import_module("safelight.models.families")
    except ModuleNotFoundError as missing:
        raise MissingExtra("models", missing.name or "diffusers") from missing
    backend: Backend = families.load(order, source)
    return backend


def _from_factory(order: ModelOrder) -> Backend:
    module, _, name = order.model.partition(":")
    try:
        factory: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as missing:
        raise ModelNotFound(order.model, f"{missing}.") from missing
    backend: Backend = factory(order)
    return backend
