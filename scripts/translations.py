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
from safelight.mistakes import NOT_AN_OBJECT, NOT_JSON, WORDS
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
    "The same action runs at this service already: a colleague began it, or you did on another "
    "page. See in the log how it ends, and then decide again.",
    "A rollout began: callers compare the models now.",
    "B needs 50 requests at this step",
    "The canary found that the model is broken, and took this instance out of service. See "
    "`safelight canary`; another instance serves.",
    *(f"{measure} is not proven to be as good" for measure in get_args(MeasureName)),
    *("the worker does not answer", "it gives the output of another input"),
    *("its output differs from the enrolled one", "0.2 s instead of 0.1 s", "2 of 6 runs"),
    "its weights are not those that were enrolled at {at}",
    *("the worker was lost", "no step within 0.2 s", "it failed: {reason}"),
    "it does not run the golden input: {reason}",
    "The canary is off. Set SAFELIGHT_CANARY_SECONDS to more than 0 and start again.",
    "The canary has no budget. Set SAFELIGHT_CANARY_RATIO to more than 0 and start again.",
    "An operator drains this instance: send new requests to another one. It still answers. "
    "POST /v1/drain/end ends it.",
    "the setting SAFELIGHT_DEGRADATION_LEVEL",
    "B failed 3 requests in a row",
    "B failed 3 of 9 requests, more than their owners explain",
    *(f"B is worse in {measure}" for measure in get_args(MeasureName)),
    *("B is as good in every measure", "the operator ended it"),
    "{name} is not a parameter; the parameters are {names}.",
    *("{setting} is {value}: nothing is copied.", "A second model is loaded beside it."),
    *("The service stops.", "It is one of another second model."),
    "{setting} is {value}, and the limit of steps is {limit}.",
    "{setting} is set, and there is no second model to compile. Name one with --shadow, or compile "
    "the served model: SAFELIGHT_COMPILE.",
    "The model sleeps and could not be loaded again. The service's log has the reason.",
    "The model slept, and was not loaded again before the deadline. Retry, it is loading now.",
    "{reason}. Retry in 2 seconds.",
    "Not every other instance could be asked for it: {reason}",
    *("2 of 3 did not answer", "too many callers ask now"),
    "Its worker was lost 3 times in a row.",
    "The worker ended 3 times in a row while it loaded the model.",
    "The served model ran out of memory on the device that both share.",
    "It is decided: the second model is {verdict}.",
    "3 pairs decided nothing.",
    "Most copies were stopped or dropped: the service is never idle long enough.",
    "The second model's task is {task}, and the served model's is {other}. Choose a second model "
    "of the same family.",
    "The second model needs sides that are multiples of 16 pixels, and the served model accepts "
    "multiples of 8. Requests would not fit.",
    "The second model works best at 512 pixels, the served one at 256; both get the sizes of the "
    "served one.",
    "{url} was asked, and its answer was lost: nobody knows whether it was done. Look at what is "
    "so now before you try again.",
    "It was tried, and the log does not say how it ended. {rest}",
    *("another console holds its lock", "it is not a plain file"),
    *("It answered 500.", "It took more than 5 s."),
    *("Send less at once.", "Prometheus has no Safelight metrics. Is a service scraped?"),
    "Prometheus has no Safelight metrics for that time. Is a service scraped?",
    "Prometheus has no Safelight metrics of {at}: no service was scraped then, or it no longer "
    "keeps that time. Choose a later time.",
    "Somebody tests with the console whether this message arrives. Nothing is wrong.",
    "This is a test.",
    "other programs are needed: stop `safelight up` and start it again",
    "the receivers in group chats stay until `safelight up` starts again",
    "not reloaded: {reason}",
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
    said = (*_SAID, *map(_key, ANSWERED), *_of_mistakes())
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


def _of_mistakes() -> Iterator[str]:
    """Yield what a service and the console say of a wrong parameter."""
    for words in WORDS.values():
        yield from (f"{{name}} {words}, got {{value}}.", f"{{name}} {words}.")
    yield from (NOT_JSON, NOT_AN_OBJECT)


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
