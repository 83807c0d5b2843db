"""Find what stays in English in texts that a reader of another language sees."""

import re
from collections.abc import Iterable
from functools import cache
from itertools import cycle

from safelight.translation import Language, messages_of, told

_HOLE = re.compile(r"\{\{[^{}]*\}\}|\{\w+\}")
# Code, quoted texts of somebody, templates, addresses, names of settings, commands and options.
_CODE = re.compile(
    r"`[^`]*`|'[^']*'|\"[^\"]*\"|\{\{[^{}]*\}\}|\{\w+\}|https?://\S+|\w*_\w+|--[\w-]+"
    r"|safelight(?: [a-z]+)+"
)
_RUN = re.compile(r"[A-Za-z']{2,}(?: [A-Za-z']+){2,}")
_VALUES = ("busy", "4.2 s", "127.0.0.1:8000", "the queue; is {0} full", "97 %", "a. B is slow", "")
# Texts that repeat what a template waits for, also longer ones than anybody translates.
HOSTILE = [
    text[:length]
    for length in (1000, 2000, 3000)
    for text in (
        "requests spend " + "of their latency in the queue and " * 100,
        *("; " * 1500, "a. A" * 750, "1,1" * 1000, "1," * 1499 + "x", "{{" * 1500, "`" * 3000),
        *("{0} " * 750, "1; " * 1000, "a is " * 600, "The " * 750, "Follows from " * 240),
        *(", usually " * 300, "; the limit is " * 200, "… and 2 more" * 250, "😀; " * 1000),
        "P95 of " + " is " * 740 + ". The limit is ",
        "\n" * 3000,
    )
]


# Two English words in a row: names, states and code stay as they are, sentences do not.
_PHRASE = re.compile(r"(?<![\w`./-])[A-Za-z']{2,} [a-z]{2,}\b")


def untold(texts: Iterable[str], language: Language = "zh") -> list[str]:
    """Return the texts with a phrase that is neither translated nor in any translation."""
    return [text for text in sorted(set(texts)) if _english(told(text, language), language)]


def _english(text: str, language: Language) -> bool:
    return any(phrase not in _translations(language) for phrase in _PHRASE.findall(text))


@cache
def _translations(language: Language) -> str:
    return "\n".join(messages_of(language).values())


def finished(keys: Iterable[str] = (), values: Iterable[str] = _VALUES) -> list[str]:
    """Return texts with values instead of their placeholders: every Chinese one by default."""
    value = cycle(values)
    return [_HOLE.sub(lambda _: next(value), key) for key in keys or messages_of("zh")]


def english(text: str) -> list[str]:
    """Return the runs of three English words in a text, outside code, commands and quotes."""
    return _RUN.findall(_CODE.sub("‖", text))
