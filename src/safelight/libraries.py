"""Type aliases for the objects of untyped libraries: torch, diffusers, transformers, NVML."""

from collections.abc import MutableMapping
from typing import Any

Pipeline = Any
"""A diffusers pipeline, or the tokenizer, scheduler or denoiser of one."""

Tensor = Any
"""A torch tensor, a NumPy array, or an image of either."""

Cuda = Any
"""The module torch.cuda, or a test's replacement of it."""

WebApp = Any
"""An ASGI or WSGI application, or one of its routes or middlewares."""

Nvml = Any
"""The module pynvml, one of its handles, or what a query returns."""

TimeMark = Any
"""A mark in time: seconds of the host's clock, or a torch.cuda.Event."""

Scope = MutableMapping[str, Any]
"""The scope of an ASGI connection."""

Message = MutableMapping[str, Any]
"""A message of an ASGI connection."""
