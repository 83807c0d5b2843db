"""Find what stays in English in texts that a reader of another language sees."""

import re
from collections.abc import Iterable
from functools import cache

from safelight.translation import Language, messages_of, told

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
