"""The fixture `real`: a stack that starts once for all tests in this folder."""

from tests.stack.real import real

__all__ = ["real"]
