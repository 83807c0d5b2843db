"""Find the texts that the source writes with values in them: findings, evidence, and errors.

A text is a whole string expression. A value in it is a placeholder, `{0}`; each branch of a
conditional text gives a text of its own.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

from safelight import errors
from safelight.translation import CODE, NUMBER, TEMPLATE, UNITS

SOURCE = Path(__file__).parent.parent / "src" / "safelight"
_HOLE = "\0"
_VALUE = re.compile(
    rf"(?P<kept>{TEMPLATE}|{CODE})|{_HOLE}(?: (?:{'|'.join(UNITS)})(?!\w))?|{NUMBER}"
)
_OF_FINDINGS = ("checks", "causes.py", "symptoms.py", "confidence.py", "report.py", "page.py")
_OF_SERVICES = ("quality", "serving/http", "serving/policies", "serving/engine", "serving/canary")
_OF_SERVICES_TOO = ("http_server", "records/rows.py", "records/search.py", "records/store.py")
_OF_RECORDS = ("records/database.py", "records/engines.py", "records/tasks.py")
_OF_CONSOLE = ("console", "diagnosis/evidence.py", "diagnosis/prometheus.py", *_OF_RECORDS)
_REASONS = ("_failed", "_absent")
_TOLD_BY_CONSOLE = (errors.MonitoringFailed, errors.ServiceFailed, errors.RecordsUnusable)
AT_START = frozenset({"server.py", "instructions.py", "access.py", "key_file.py", "addresses.py"})
Names = Mapping[str, list[ast.expr]]


def finding_texts() -> Iterator[str]:
    """Yield what a diagnosis says: titles, verdicts, evidence, and advice."""
    for file in _files(f"diagnosis/{name}" for name in _OF_FINDINGS):
        for node in _tree(file).body:
            is_part = isinstance(node, ast.Assign) and _is_text(node.value)  # of formulas
            if not is_part:
                yield from _worded(_texts(node, {}))
                yield from _worded(_counted(node))


def error_texts() -> Iterator[str]:
    """Yield the messages of errors that reach a caller of a service or of the console."""
    for node in ast.walk(_tree(SOURCE / "errors.py")):
        if isinstance(node, ast.ClassDef) and _is_answered(node.name, is_console=True):
            yield from _worded(_initial(node))
    for places, is_console in (((*_OF_SERVICES, *_OF_SERVICES_TOO), False), (_OF_CONSOLE, True)):
        for file in _files(places):
            yield from _says(_tree(file)) if is_console else ()
            for node in ast.walk(_tree(file)):
                if isinstance(node, ast.Call) and _is_answered(_name(node), is_console=is_console):
                    yield from _worded(_arguments(node))


def all_texts() -> Iterator[str]:
    """Yield every text of the source, also single words."""
    for file in sorted(SOURCE.rglob("*.py")):
        yield from map(_key, _texts(_tree(file), {}))


def texts_of(file: Path) -> Iterator[str]:
    """Yield every text of one file with words."""
    yield from _worded(_texts(_tree(file), {}))


def _says(tree: ast.Module) -> Iterator[str]:
    """Yield what methods such as `self._failed(reason)` say of a monitoring program, and why."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _REASONS:
            yield from _worded(_arguments(node))
        if isinstance(node, ast.Call) and _name(node) == "Field":  # what its form must be
            told = (each.value for each in node.keywords if each.arg == "description")
            yield from _worded(text for each in told for text in _texts(each, {}))
        if isinstance(node, ast.FunctionDef) and node.name == "_says":
            yield from _worded(_texts(node, {}))


def _is_answered(name: str, *, is_console: bool) -> bool:
    """Return whether an error of this name answers a request; an unusable command does not."""
    error = getattr(errors, name, None)
    if not (isinstance(error, type) and issubclass(error, errors.SafelightError)):
        return False
    told = (*_TOLD_BY_CONSOLE, errors.BadSetting)
    return not issubclass(error, errors.Unusable) or (is_console and issubclass(error, told))


def _files(places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        path = SOURCE / place
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        yield from (file for file in files if file.name not in AT_START)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", "")


def _arguments(call: ast.Call) -> Iterator[str]:
    for value in (*call.args, *(keyword.value for keyword in call.keywords)):
        yield from _texts(value, {})


def _initial(error: ast.ClassDef) -> Iterator[str]:
    """Yield the texts in the constructor of an error."""
    for node in error.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for part in (*node.args.defaults, *node.body):
                yield from _texts(part, {})


def _texts(node: ast.AST, names: Names) -> Iterator[str]:
    """Yield every text below a node, with a hole for each value; `names` holds local texts."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.FunctionDef):
        names = _local(node)
    if isinstance(node, ast.expr) and _is_text(node):
        yield from _forms(node, names)
        return
    for child in ast.iter_child_nodes(node):
        if child is not _formula(node):
            yield from _texts(child, names)


def _formula(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.Call(func=ast.Name(id="Check"), args=[_, _, _, formula, *_]):
            return formula
        case _:
            return None


def _counted(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of calls such as `counted(n, "request")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) == "counted":
            noun = node.args[1]
            if isinstance(noun, ast.Constant):
                yield from (f"{_HOLE} {noun.value!s}{plural}" for plural in ("", "s"))


def _local(function: ast.FunctionDef) -> Names:
    """Return the texts that a function gives names to."""
    names: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values for name, values in names.items() if all(map(_has_text, values))}


def _has_text(node: ast.expr) -> bool:
    branches = (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)
    return any(map(_is_text, branches))


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return any(map(_has_text, (node.left, node.right)))
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _forms(node: ast.expr, names: Names) -> list[str]:  # noqa: PLR0911 - one for each kind
    """Return the texts that an expression can be."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(each) for each in product(*(_forms(part, names) for part in parts))]
        case ast.FormattedValue(value=ast.Name() | ast.IfExp() as value):
            return _forms(value, names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            both = product(_forms(left, names), _forms(right, names))
            return [first + second for first, second in both]
        case ast.IfExp(body=body, orelse=other):
            return [*_forms(body, names), *_forms(other, names)]
        case ast.Name(id=name) if name in names:
            others = {key: values for key, values in names.items() if key != name}
            return [form for value in names[name] for form in _forms(value, others)]
        case _:
            return [_HOLE]


def _worded(texts: Iterable[str]) -> Iterator[str]:
    """Yield the keys of texts that have words besides their values."""
    for text in texts:
        if re.search("[A-Za-z]{2}", text) and " " in text.strip() and not set("<\\") & set(text):
            yield _key(text)


def _key(text: str) -> str:
    """Return a text with a numbered placeholder for each hole and number, also in code."""
    numbers = iter(range(len(text)))

    def numbered(match: re.Match[str]) -> str:
        kept = match["kept"]
        if kept is None:
            return f"{{{next(numbers)}}}"
        return re.sub(_HOLE, lambda _: f"{{{next(numbers)}}}", kept)

    return _VALUE.sub(numbered, text.strip())
