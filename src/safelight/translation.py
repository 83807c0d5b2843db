"""Translate the texts that operators read. The English text is the key of its translation.

A text has one translation for all limits: numbers with their units are placeholders in its key.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

LOCALES = Path(__file__).with_name("locales")
UNITS = ("%", "ms", "s", "min", "m", "h", "d", "days", "B", "KiB", "MiB", "GiB", "TiB", "°C")
TEMPLATE = r"\{\{[^{}]*\}\}"  # Prometheus, Alertmanager or Grafana fills it in
CODE = r"`[^`]*`"
NUMBER = rf"(?<![\w.])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?: ?(?:{'|'.join(UNITS)}))?(?!\w|[.,]\d)"
_NUMBERS = re.compile(r"\{\d+\}(?: \{\d+\})*")
_BORDER = re.compile("[一-鿿][0-9A-Za-z]|[0-9A-Za-z%][一-鿿]")
_HOLE = re.compile(rf"{TEMPLATE}|\{{\w+\}}")  # where a finished text has a value
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Za-z`])")
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z`])|(?<=。)(?=.)")
# An alert's text begins with what carries it; a diagnosis leaves that out.
_CARRIER = re.compile(r"^\{\{[^}]*\}\}(?: ?[(（]\{\{[^}]*\}\}[)）])?[:：] ?")  # noqa: RUF001
# Texts of these origins are whole texts everywhere: no server puts values in them.
_WHOLE = ("page", "safelight-", "runbooks")
_LEAST_LETTERS = 5  # of a template, besides its values
_MOST_WORDS_OF_NOUN = 4
_MOST_CHARACTERS = 2000  # a longer text stays as it is
_MOST_LEVELS = 12  # of values in values, and of clauses


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
            return _with_numbers(messages[key], values, messages)
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


class Phrases(NamedTuple):
    """The translations of a language: what a server says, and what only pages show.

    Only what a server says is looked for in the values of a text, and can have values itself.
    """

    said: dict[str, str]
    shown: dict[str, str]


class Template(NamedTuple):
    """What a server says with values: the words before, between and after them."""

    rank: int
    words: list[str]
    holes: list[str]
    translation: str


def read_messages(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the keys and translations of a catalogue. An empty translation is missing."""
    yield from ((key, text) for key, text, _ in _read(file))


def _read(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the key, the translation and the origin of each text."""
    from babel.messages.pofile import read_po  # late: a service and English need no catalogue

    with file.open("rb") as content:
        for message in read_po(content):
            if message.id and not message.fuzzy:
                origin = "".join(message.auto_comments)
                yield str(message.id), str(message.string or ""), origin


@cache
def _catalogue(language: Language) -> list[tuple[str, str, str]]:
    """Return every text that has a translation; none for English."""
    if language == "en":
        return []
    return [each for each in _read(LOCALES / f"{language}.po") if each[1]]


@cache
def messages_of(language: Language) -> dict[str, str]:
    """Return the translation of every key; empty for English."""
    return {key: text for key, text, _ in _catalogue(language)}


@cache
def phrases_of(language: Language) -> Phrases:
    """Return every translation, also of the parts of alerts' texts that a diagnosis writes."""
    found = Phrases({}, {})
    for key, text, origin in _catalogue(language):
        (found.shown if origin.startswith(_WHOLE) else found.said)[key] = text
    return Phrases(*map(_with_parts, found))


def _with_parts(messages: dict[str, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for key, text in messages.items():
        if _CARRIER.match(key):
            title = _CARRIER.sub("", key)
            for written in (title, title[:1].upper() + title[1:]):  # names such as a.b stay small
                parts[written] = _CARRIER.sub("", text)
        sentences, own = _SENTENCE_END.split(key), _SENTENCE_END.split(text)
        if 1 < len(sentences) == len(own):
            parts.update(zip(sentences, own, strict=True))
    parts |= messages
    open_ended = {
        key[:-1]: text[:-1] for key, text in parts.items() if f"{key[-1]}{text[-1]}" == ".。"
    }
    return {**open_ended, **parts}


def told(text: str, language: Language) -> str:
    """Return the translation of a finished text: the values in it are no placeholders any more.

    Values in it are translated too, if a server says them. A text that nobody knows is translated
    in sentences and clauses, as far as possible. The work grows no faster than the text.
    """
    if language == "en" or len(text) > _MOST_CHARACTERS:
        return text
    known = _whole(text, phrases_of(language).shown)
    return _told(text, language, _MOST_LEVELS) if known is None else known


def _told(text: str, language: Language, levels: int) -> str:
    """Return the translation of a text or a part of one: of what a server says."""
    if not levels or not text:
        return text
    known = _whole(text, phrases_of(language).said)
    if known is not None:
        return known
    for template in _candidates(text, language):
        values = _between(template.words, text)
        if values is not None:
            own = (_told(value, language, levels - 1) for value in values)
            return _filled(template.translation, dict(zip(template.holes, own, strict=True)))
    return _in_parts(text, language, levels)


def _in_parts(text: str, language: Language, levels: int) -> str:
    """Return the translation of the sentences, or the first clause and the others."""
    sentences = _SENTENCES.split(text)
    parts = sentences if len(sentences) > 1 else text.split("; ", 1)
    if len(parts) == 1:
        return text
    own = [_told(part, language, levels - 1) for part in parts]
    if len(sentences) == 1:
        return "；".join(own)  # noqa: RUF001
    return ("" if all(each.endswith("。") for each in own) else " ").join(own)


def _whole(text: str, phrases: Mapping[str, str]) -> str | None:
    """Return the translation of a text whose only values are numbers; None if nobody knows it."""
    key, numbers = split(text)
    are_numbers = numbers and "{0} s" in phrases and _NUMBERS.fullmatch(key)
    known = key if are_numbers else phrases.get(key)
    return None if known is None else _with_numbers(known, numbers, phrases)


def _between(words: Sequence[str], text: str) -> list[str] | None:
    """Return the values between words, each as short as possible; None if the words are not there.

    Each word is looked for once, after the one before it: no way back, whatever the text is.
    A value of several sentences is none: each sentence is then told on its own.
    """
    first, *middle, last = words
    place, end = len(first), len(text) - len(last)
    if place > end or not (text.startswith(first) and text.endswith(last)):
        return None
    values = []
    for word in middle:
        found = text.find(word, place, end)
        if found < 0:
            return None
        values.append(text[place:found])
        place = found + len(word)
    values.append(text[place:end])
    return None if any(map(_SENTENCES.search, values)) else values


def _candidates(text: str, language: Language) -> list[Template]:
    """Return the templates that begin or end as a text does, the longest first."""
    templates = _templates(language)
    places = (f"{text.partition(' ')[0]} ", f" {text.rpartition(' ')[2]}", "")
    return sorted(each for place in places for each in templates.get(place, ()))


@cache
def _templates(language: Language) -> dict[str, list[Template]]:
    """Return the templates by their first word, or else their last one, or else by nothing."""
    found = []
    for key, text in phrases_of(language).said.items():
        holes, words = _HOLE.findall(key), _HOLE.split(key)
        if holes and sum(map(str.isalpha, "".join(words))) >= _LEAST_LETTERS:
            found.append((words, holes, text))
    found.sort(key=lambda each: (_is_noun(each[0]), -len("".join(each[0]))))
    templates: dict[str, list[Template]] = {}
    for rank, (words, holes, text) in enumerate(found):
        templates.setdefault(_sorted_by(words), []).append(Template(rank, words, holes, text))
    return templates


def _is_noun(words: Sequence[str]) -> bool:
    """Return whether a template names a thing, such as `the memory of {0}`: a value in others."""
    is_open = words[0].startswith("the ") and not words[-1]
    return is_open and len(" ".join(words).split()) <= _MOST_WORDS_OF_NOUN


def _sorted_by(words: Sequence[str]) -> str:
    """Return the first whole word of a template and a space, or a space and its last word."""
    first, space, _ = words[0].partition(" ")
    if first and space:
        return f"{first} "
    _, space, last = words[-1].rpartition(" ")
    return f" {last}" if last and space else ""


def _with_numbers(text: str, values: Sequence[str], messages: Mapping[str, str]) -> str:
    own = {f"{{{place}}}": _value(value, messages) for place, value in enumerate(values)}
    return _filled(text, own)


def _value(value: str, messages: Mapping[str, str]) -> str:
    """Return a number with its unit as the language writes it, such as `5s` as `5 s`."""
    number = re.match(r"[\d.,e+-]*\d", value)
    if number is None:
        return value
    unit = value[number.end() :]
    return (messages.get(f"{{0}}{unit}", "") or f"{{0}}{unit}").replace("{0}", number[0])


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with values; a placeholder without a value stays.

    A Chinese text has a space before and after a number, a unit and a name.
    """
    filled, place = "", 0
    for hole in _HOLE.finditer(text):
        filled = _beside(filled, text[place : hole.start()])
        filled = _beside(filled, values.get(hole[0], hole[0]))
        place = hole.end()
    return _beside(filled, text[place:])


def _beside(one: str, other: str) -> str:
    """Return two texts, with a space between a Chinese character and a Latin one."""
    return f"{one} {other}" if _BORDER.fullmatch(one[-1:] + other[:1]) else one + other
