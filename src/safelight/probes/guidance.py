"""Find out which guidance a pipeline's loop applies, and which it ignores without an error.

Pipelines decide it in different ways, which the source of their `__call__` shows: by a flag such
as `do_classifier_free_guidance`, by an embedding of the value into the denoiser, or by the presence
of a negative prompt. The conditions are read once for each class and evaluated in each call. What
cannot be read is unknown.
"""

import ast
import inspect
import textwrap
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from weakref import WeakKeyDictionary

from safelight.libraries import Pipeline
from safelight.probes.disguise import MARK
from safelight.probes.numbers import given, number

NO_GUIDANCE = 1.0  # uncond + 1 * (cond - uncond) = cond: guidance has no effect
PARAMETERS = ("guidance_scale", "image_guidance_scale", "true_cfg_scale")

_FLAG = "do_classifier_free_guidance"
_EMBEDS = "self.unet.config.time_cond_proj_dim is not None"  # as latent-consistency models do
_SCALES = {"guidance_scale", "self.guidance_scale", "self._guidance_scale"}


class Decision(StrEnum):
    """How a pipeline class decides whether it applies guidance."""

    FLAG = "flag"
    CONSTANT = "constant"
    EMBEDDED = "embedded"
    NEGATIVE_PROMPT = "negative prompt"
    UNKNOWN = "unknown"
    NO_PARAMETER = "no parameter"


@dataclass(frozen=True, slots=True)
class Rule:
    """The decision of a class. Guidance is applied if one of the conditions is true."""

    decision: Decision
    conditions: tuple[str, ...] = ()


_CALLS = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)
_ATTEMPTS = 3
_LOCK = threading.Lock()
_RULES: WeakKeyDictionary[type, Rule] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Guidance:
    """The guidance of one call: asked and in force. None is unknown, or not a parameter."""

    asked: float | None = None
    in_force: float | None = None

    @property
    def overridden(self) -> bool:
        """Return True if the loop ignores the asked value. 0 also asks for no guidance."""
        asked, in_force = self.asked, self.in_force
        return asked is not None and in_force is not None and asked not in (in_force, 0)


def asked_of(name: str, arguments: Mapping[str, object]) -> Guidance:
    """Return the guidance that a call asks for, before its loop shows what is in force."""
    return Guidance(number(arguments.get(name)))


def guidance_of(pipeline: Pipeline, name: str, arguments: Mapping[str, object]) -> Guidance:
    """Return the guidance of a running call, read when its loop begins.

    `name` is one of `PARAMETERS`.
    """
    asked = number(arguments.get(name))
    if asked is None:
        return Guidance()
    if name == "true_cfg_scale":
        applies: bool | None = _has_negative_prompt(arguments)
    else:
        applies = _applies(rule_of(type(pipeline)), pipeline, arguments)
    if applies is None:
        return Guidance(asked)
    return Guidance(asked, asked if applies else NO_GUIDANCE)


def rule_of(kind: type) -> Rule:
    """Return how a pipeline class decides, from the source of its `__call__`."""
    if MARK in vars(kind):  # the class of a watched pipeline
        kind = kind.__mro__[1]
    with _LOCK:
        rule = _RULES.get(kind)
        if rule is None:
            rule = _RULES[kind] = _read(kind)
    return rule


def _read(kind: type) -> Rule:
    call = kind.__call__
    if "guidance_scale" not in inspect.signature(call).parameters:
        has_true = "true_cfg_scale" in inspect.signature(call).parameters
        return Rule(Decision.NEGATIVE_PROMPT if has_true else Decision.NO_PARAMETER)
    tree = _parsed(call)
    return Rule(Decision.UNKNOWN) if tree is None else _rule(kind, tree)


def _parsed(function: object) -> ast.AST | None:
    """Return the syntax tree of a function's source, or None if it cannot be read."""
    for _ in range(_ATTEMPTS):
        try:
            return ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]
        except SystemError:  # Python 3.11: another thread parses too (python/cpython#106905)
            continue
        except (OSError, TypeError, SyntaxError):
            return None
    return None


def _rule(kind: type, tree: ast.AST) -> Rule:
    embedded = tuple(_embeddings(tree))
    flags = tuple(_flags(kind, tree))
    if flags:
        constant = all(flag in ("True", "False") for flag in flags)
        if constant and embedded:
            return Rule(Decision.EMBEDDED, embedded)
        return Rule(Decision.CONSTANT if constant else Decision.FLAG, (*flags, *embedded))
    if embedded:
        return Rule(Decision.EMBEDDED, embedded)
    compared = tuple(_comparisons(tree))[:1]
    return Rule(Decision.FLAG, compared) if compared else Rule(Decision.UNKNOWN)


def _flags(kind: type, tree: ast.AST) -> Iterator[str]:
    """Yield the conditions of the flag: a variable of the call, else the class's property."""
    found = [_condition(value) for name, value in _assignments(tree) if name == _FLAG]
    if found:
        yield from dict.fromkeys(found)
    elif any(isinstance(node, ast.Attribute) and node.attr == _FLAG for node in ast.walk(tree)):
        yield _constant_of(kind) or f"self.{_FLAG}"


def _condition(value: ast.expr) -> str:
    """Return the expression; an empty one, which is unknown, if evaluating it calls a function."""
    simple = not any(isinstance(node, _CALLS) for node in ast.walk(value))
    return ast.unparse(value) if simple else ""


def _constant_of(kind: type) -> str:
    """Return `True` or `False` if the class's property always has this value."""
    flag = getattr(kind, _FLAG, None)
    if not isinstance(flag, property):
        return ""
    tree = _parsed(flag.fget)
    if tree is None:
        return ""
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    values = [each.value for each in returned if isinstance(each, ast.Constant)]
    return str(values[0]) if len(values) == len(returned) == 1 else ""


def _embeddings(tree: ast.AST) -> Iterator[str]:
    """Yield the conditions under which the value is an input of the denoiser."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    conditional = [ast.unparse(node) for node in attributes if node.attr == "guidance_embeds"]
    yield from dict.fromkeys(conditional)
    if any(node.attr == "time_cond_proj_dim" for node in attributes):
        yield _EMBEDS
    elif not conditional and any(
        name == "guidance" and _uses_scale(value) for name, value in _assignments(tree)
    ):
        yield "True"


def _comparisons(tree: ast.AST) -> Iterator[str]:
    """Yield the comparisons of the guidance with a number that steer the loop."""
    tests = (node.test for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp))
    compared = (node for test in tests for node in ast.walk(test) if isinstance(node, ast.Compare))
    for node in compared:
        greater = all(isinstance(each, ast.Gt | ast.GtE | ast.NotEq) for each in node.ops)
        if greater and ast.unparse(node.left) in _SCALES:
            yield ast.unparse(node)


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value


def _uses_scale(value: ast.expr) -> bool:
    texts = {ast.unparse(node) for node in ast.walk(value) if isinstance(node, ast.expr)}
    return bool(texts & _SCALES)


def _applies(rule: Rule, pipeline: Pipeline, arguments: Mapping[str, object]) -> bool | None:
    """Return whether a condition is true; None if that is unknown."""
    results = [_evaluated(each, pipeline, arguments) for each in rule.conditions]
    if any(results):
        return True
    return None if None in results or not results else False


def _evaluated(condition: str, pipeline: Pipeline, arguments: Mapping[str, object]) -> bool | None:
    try:
        code = compile(condition, "<guidance>", "eval")
        return bool(eval(code, {"__builtins__": {}}, {**arguments, "self": pipeline}))
    except Exception:  # noqa: BLE001 - the condition needs what only the call itself has
        return None


def _has_negative_prompt(arguments: Mapping[str, object]) -> bool:
    names = ("negative_prompt", "negative_prompt_embeds")
    asked = number(arguments.get("true_cfg_scale")) or 0.0
    return asked > 1 and any(given(arguments.get(name)) for name in names)
