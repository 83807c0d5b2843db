"""Translate the texts that operators read. The English text is the key of its translation.

A text has one translation for all limits: numbers with their units are placeholders in its key.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

LOCALES = Path(__file__).with_name("locales")
UNITS = ("%", "ms", "s", "min", "m", "h", "d", "days", "B", "KiB", "MiB", "GiB", "TiB", "°C")
TEMPLATE = r"\{\{.*?\}\}"  # Prometheus, Alertmanager or Grafana fills it in
CODE = r"`[^`]*`"
_NUMBER = rf"(?<![\w.])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?: ?(?:{'|'.join(UNITS)}))?(?!\w|[.,]\d)"
_PLACEHOLDER = re.compile(r"\{(\d+)\}")


def translate(text: str, language: Language, name: str = "") -> str:
    """Return a text in a language; `name` is a name in the text, such as that of a service.

    A text without a translation stays in English: an alert must be sent in any case.
    """
    if language == "en":
        return text
    messages = messages_of(language)
    for names in ((), (name,) if name else ()):
        key, values = split(text, *names)
        if key in messages:
            return _filled(messages[key], [_value(value, messages) for value in values])
    return text


def split(text: str, *names: str) -> tuple[str, list[str]]:
    """Return the key of a text's translation, and the values of its placeholders, in order."""
    named = (rf"\b{re.escape(name)}\b" for name in names)
    parts = re.compile(rf"({TEMPLATE}|{CODE})|{'|'.join((_NUMBER, *named))}")
    values: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        if match[1]:
            return match[0]
        values.append(match[0])
        return f"{{{len(values) - 1}}}"

    return parts.sub(replaced, text), values


def read_messages(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the keys and translations of a catalogue. An empty translation is missing."""
    from babel.messages.pofile import read_po  # late: a service and English need no catalogue

    with file.open("rb") as content:
        for message in read_po(content):
            if message.id and not message.fuzzy:
                yield str(message.id), str(message.string or "")


@cache
def messages_of(language: Language) -> dict[str, str]:
    """Return the translation of every key; empty for English."""
    if language == "en":
        return {}
    found = read_messages(LOCALES / f"{language}.po")
    return {key: text for key, text in found if text}


def _value(value: str, messages: dict[str, str]) -> str:
    """Return a number with its unit as the language writes it, such as `5 %` as `5%`."""
    number = re.match(r"[\d.,e+-]*\d", value)
    if number is None:
        return value
    unit = value[number.end() :]
    return _filled(messages.get(f"{{0}}{unit}", "") or f"{{0}}{unit}", [number[0]])


def _filled(text: str, values: list[str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[int(match[1])], text)
