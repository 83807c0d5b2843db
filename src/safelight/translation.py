"""Translate the texts that operators read. The English text is the key of its translation.

A text has one translation for all limits: numbers with their units are placeholders in its key.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

LOCALES = Path(__file__).with_name("locales")
UNITS = ("%", "ms", "s", "min", "m", "h", "d", "days", "B", "KiB", "MiB", "GiB", "TiB", "°C")
TEMPLATE = r"\{\{.*?\}\}"  # Prometheus, Alertmanager or Grafana fills it in
CODE = r"`[^`]*`"
NUMBER = rf"(?<![\w.])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?: ?(?:{'|'.join(UNITS)}))?(?!\w|[.,]\d)"
_PLACEHOLDER = re.compile(r"\{(\d+)\}")
_HOLE = re.compile(r"\{\{.*?\}\}|\{\w+\}")  # where a finished text has a value
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z`])|(?<=。)(?=.)")
# An alert's text begins with what carries it; a diagnosis leaves that out.
_CARRIER = re.compile(r"^\{\{[^}]*\}\}(?: ?[(（]\{\{[^}]*\}\}[)）])?[:：] ?")  # noqa: RUF001
_MOST_VALUE_CHARACTERS, _LEAST_LETTERS = 300, 4


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
    parts = re.compile(rf"({TEMPLATE}|{CODE})|{'|'.join((NUMBER, *named))}")
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


@cache
def phrases_of(language: Language) -> dict[str, str]:
    """Return every translation, also of the parts of alerts' texts that a diagnosis writes."""
    parts: dict[str, str] = {}
    for key, text in messages_of(language).items():
        if _CARRIER.match(key):
            title = _CARRIER.sub("", key)
            parts[title[:1].upper() + title[1:]] = _CARRIER.sub("", text)
        sentences, own = _SENTENCE_END.split(key), _SENTENCE_END.split(text)
        if 1 < len(sentences) == len(own):
            parts.update(zip(sentences, own, strict=True))
    parts |= messages_of(language)
    open_ended = {
        key[:-1]: text[:-1] for key, text in parts.items() if f"{key[-1]}{text[-1]}" == ".。"
    }
    return {**open_ended, **parts}


def told(text: str, language: Language) -> str:
    """Return the translation of a finished text: the values in it are no placeholders any more.

    Values in it are translated too, if they are phrases. A text that nobody knows is translated
    clause by clause, as far as possible.
    """
    if language == "en":
        return text
    phrases = phrases_of(language)
    key, numbers = split(text)
    if key == "{0}":
        return _value(text, phrases)
    if key in phrases:
        return _filled(phrases[key], [_value(value, phrases) for value in numbers])
    for pattern, holes, translation in _patterns(language):
        if match := pattern.fullmatch(text):
            own = (told(value, language) for value in match.groups())
            return _with_values(translation, dict(zip(holes, own, strict=True)))
    clause, stop, rest = text.partition("; ")
    return f"{told(clause, language)}；{told(rest, language)}" if stop else text  # noqa: RUF001


def _with_values(translation: str, values: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda hole: values[hole[0]], translation)


@cache
def _patterns(language: Language) -> list[tuple[re.Pattern[str], list[str], str]]:
    """Return an expression for each phrase with values, the longest phrase first."""
    value = f"(.{{0,{_MOST_VALUE_CHARACTERS}}}?)"
    found = []
    for key, text in phrases_of(language).items():
        holes, words = _HOLE.findall(key), _HOLE.split(key)
        length = len("".join(words))
        if holes and sum(map(str.isalpha, "".join(words))) >= _LEAST_LETTERS:
            pattern = re.compile(value.join(map(re.escape, words)), re.DOTALL)
            found.append((-length, pattern, holes, text))
    return [each[1:] for each in sorted(found, key=lambda each: each[0])]


def _value(value: str, messages: dict[str, str]) -> str:
    """Return a number with its unit as the language writes it, such as `5 %` as `5%`."""
    number = re.match(r"[\d.,e+-]*\d", value)
    if number is None:
        return value
    unit = value[number.end() :]
    return _filled(messages.get(f"{{0}}{unit}", "") or f"{{0}}{unit}", [number[0]])


def _filled(text: str, values: list[str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[int(match[1])], text)
