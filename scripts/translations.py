"""List the texts without a translation, and the translations without a text.

With --update, write the catalogues anew: new texts with an empty translation, no obsolete ones.
"""

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import get_args

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from safelight.console.acts import ACTS
from safelight.console.app import STATIC
from safelight.console.pages import PAGES
from safelight.dashboards.board import Board
from safelight.dashboards.catalog import boards
from safelight.guard.arms import MeasureName
from safelight.reference.runbooks import when
from safelight.rules.alerts import alerts
from safelight.rules.files import WATCHDOG
from safelight.rules.rule import Alert, Severity
from safelight.rules.thresholds import Thresholds
from safelight.serving.job import Parameters
from safelight.serving.policies.degradation import MEANINGS
from safelight.translation import LOCALES, Language, read_messages, split
from scripts.texts import SOURCE, error_texts, finding_texts

LANGUAGES = [language for language in get_args(Language) if language != "en"]
_NAMESPACE = "any_service"
# As `units.py` and Prometheus write numbers that operators read.
_UNITS = (
    *("{0} %", "{0} ms", "{0} s", "{0} min", "{0} h", "{0} days"),
    *("{0}%", "{0}ms", "{0}s", "{0}m", "{0}h", "{0}d"),
)
_NOUNS = ("request", "service", "image", "dashboard", "panel", "language", "receiver")
# What the diagnosis calls what it foresees and compares, and what the console says of a log.
_SAID = (
    *("GPU memory of PyTorch", "GPU memory in total", "host memory", "file system", "queue"),
    *("error budget", "requests per second", "success", "P95 of a request", "mean queue time"),
    *("mean step", "mean batch", "memory allocated", "invalid images per second"),
    *("step", "call", "first", "last", "type", "size", "{0}, usually {1}"),
    "Diagnosis",
    "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC",
    "The log has no line of this request.",
    "The log goes to a stream. SAFELIGHT_LOG_OUTPUT names a file instead.",
)
# What services, and the console of them, answer to the pages Try and Act.
ANSWERED = (
    *("anyone on this machine", "the console"),
    *(f"The {noun} does not exist, has expired, or is not yours." for noun in _NOUNS),
    "The service at {address} does not answer. Is it running?",
    "{service} answers too slowly: it took 4 s.",
    "{service} wants an API key. Start the console with the same SAFELIGHT_API_KEYS_FILE as the "
    "service.",
    "This service is an older version, which cannot do this.",
    "This service has no second model. Start it with one: safelight serve A --shadow B.",
    "A rollout began: callers compare the models now.",
    "B needs 50 requests at this step",
    "The canary found that the model is broken, and took this instance out of service. See "
    "`safelight canary`; another instance serves.",
    *(f"{measure} is not proven to be as good" for measure in get_args(MeasureName)),
    *("the worker does not answer", "it gives the output of another input"),
    *("its output differs from the enrolled one", "0.2 s instead of 0.1 s", "2 of 6 runs"),
)
_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)+"')
# `t("one {value}", …)` or `t(condition ? "one" : "other", …)`
_CALL = re.compile(rf"\bt\(((?:[^\"\n(){{}}]*{_TEXT.pattern})+)")
_HEADER = """\
# The texts of Safelight in another language. `python scripts/translations.py` finds missing ones.
msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def sources(limits: Thresholds | None = None) -> dict[str, str]:
    """Return the key of every text that operators read with these limits, and where it is."""
    texts = (
        *_of_alerts((*alerts(_NAMESPACE, limits), *WATCHDOG.alerts)),
        *_of_boards(boards(limits)),
        *((word, "words") for word in (*_words(), *get_args(Severity))),
    )
    keys: dict[str, str] = {}
    for text, place in texts:
        keys.setdefault(split(text, _NAMESPACE)[0], place)
    pages = (*(page.title for page in PAGES), *_of_scripts(), *map(_key, _of_forms_and_acts()))
    for key in pages:  # what is said elsewhere too can be in a finished text
        keys.setdefault(key, "page")
    said = (*_SAID, *map(_key, ANSWERED))
    places = (said, "console"), (finding_texts(), "diagnosis"), (error_texts(), "errors")
    found = {key: place for texts, place in (*places, (_UNITS, "units")) for key in texts}
    return {**keys, **found}


def differences(language: Language) -> tuple[list[str], list[str]]:
    """Return the keys that lack a translation, and the translated keys that no text has."""
    found, wanted = dict(read_messages(catalogue(language))), sources()
    missing = [key for key in wanted if not found.get(key)]
    return missing, [key for key in found if key not in wanted]


def catalogue(language: Language) -> Path:
    """Return the file with the translations into a language."""
    return LOCALES / f"{language}.po"


def updated(language: Language) -> str:
    """Return the catalogue with every key in the order of the sources."""
    file = catalogue(language)
    known = dict(read_messages(file)) if file.is_file() else {}
    written, content = Catalog(), BytesIO()
    for key, place in sources().items():
        written.add(key, known.get(key, ""), auto_comments=[place])
    write_po(content, written, width=0, omit_header=True)
    return _HEADER.format(language=language) + content.getvalue().decode().strip() + "\n"


def _of_alerts(rows: Iterable[Alert]) -> Iterator[tuple[str, str]]:
    for alert in rows:
        runbook = alert.runbook
        for text in (alert.summary, alert.description, runbook.means, runbook.look, runbook.do):
            yield text, alert.name
        yield from ((text, "runbooks") for text in when(alert))


def _of_boards(rows: Iterable[Board]) -> Iterator[tuple[str, str]]:
    for board in rows:
        titles = (row.title for row in board.rows)
        panels = (
            text for each in board.panels for text in (each.title, each.text, each.empty_text)
        )
        marks = (text for mark in board.annotations for text in (mark.name, mark.text))
        legends = (each.legend for panel in board.panels for each in panel.queries)
        plain = (legend for legend in legends if legend and "{{" not in legend)
        labels = (variable.label for variable in board.variables if variable.query)
        for text in (board.name, board.question, *titles, *panels, *plain, *marks, *labels):
            yield text, board.uid


def _key(text: str) -> str:
    return split(text)[0]


def _of_forms_and_acts() -> Iterator[str]:
    yield from (*_of_acts(), *_of_forms())


def _of_acts() -> Iterator[str]:
    """Yield what the page Act says of each action, and of each degradation level."""
    for act in ACTS:
        yield from filter(None, (act.title, act.full, act.says, act.undo))
    yield from MEANINGS.values()


def _of_forms() -> Iterator[str]:
    """Yield what the page Try says of each parameter of a model."""
    for form in get_args(Parameters):
        fields = form.model_fields.values()
        yield from (field.description for field in fields if field.description)


def _of_scripts() -> Iterator[str]:
    """Yield the texts in calls of `t` in the console's scripts."""
    for file in sorted(STATIC.rglob("*.js")):
        if "vendor" not in file.parts:
            for call in _CALL.findall(file.read_text(encoding="utf-8")):
                yield from (json.loads(text) for text in _TEXT.findall(call))


def _words() -> Iterator[str]:
    """Yield the texts in calls of `translate`, with a number for each value in them."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "translate":
                yield from _literal(node.args[0])


def _literal(text: ast.expr) -> Iterator[str]:
    if isinstance(text, ast.Constant):
        yield str(text.value)
    if isinstance(text, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "2" for part in text.values
        )


def main() -> None:
    """Print what is missing and obsolete, and exit 1 if anything is."""
    complete = True
    for language in LANGUAGES:
        if "--update" in sys.argv:
            catalogue(language).write_text(updated(language), encoding="utf-8")
        missing, obsolete = differences(language)
        for word, keys in (("missing", missing), ("obsolete", obsolete)):
            print("".join(f"{language}, {word}: {key}\n" for key in keys), end="")
        complete = complete and not (missing or obsolete)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
