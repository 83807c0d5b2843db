"""Load a model by its name. A separate API process never imports this module."""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

from safelight.errors import MissingExtra, ModelNotFound
from safelight.models.backend import Backend, ModelOrder
from safelight.models.extras import FACTORY
from safelight.models.source import Source, source_of


def load_backend(
    order: ModelOrder, before: Callable[[ModelOrder, Source], None] = lambda *_: None
) -> Backend:
    """Load a model, or call the factory `package.module:function`.

    `before` is called with the source of a model, and may refuse it. Raises ModelNotFound or
    MissingExtra.
    """
    if FACTORY.fullmatch(order.model):
        return _from_factory(order)
    # At its import, torchao warns about parts that are not used here.
    for name in ("torchao", "torch.utils._pytree", "diffusers.quantizers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        source = source_of(order)
        # By name, so that importing this module does not import torch.
        families = import_module("safelight.models.families")
    except ModuleNotFoundError as error:
        raise MissingExtra("models", error.name or "diffusers") from error
    before(order, source)
    backend: Backend = families.load(order, source)
    return backend


def _from_factory(order: ModelOrder) -> Backend:
    module, _, name = order.model.partition(":")
    try:
        factory: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ModelNotFound(order.model, f"{error}.") from error
    backend: Backend = factory(order)
    return backend
