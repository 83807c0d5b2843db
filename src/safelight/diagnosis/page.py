"""Diagnosis as one HTML page without scripts and external files. Every text is escaped."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape

from safelight.diagnosis.report import ExhibitData, FindingData, ReportData, sentence
from safelight.translation import Language, told
from safelight.units import share

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --critical: #c62828; --warning: #b26a00;
  --info: #4a6a8a }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem }
article { border: 1px solid var(--line); border-left: .4rem solid var(--info); border-radius: .4rem;
  padding: .6rem 1rem; margin: .8rem 0 }
article.critical { border-left-color: var(--critical) }
article.warning { border-left-color: var(--warning) }
article h3 { margin: 0; font-size: 1.05rem } article p { margin: .3rem 0 }
.meta { font-size: .85rem; opacity: .75 } ul { margin: .2rem 0 .6rem; padding-left: 1.2rem }
dt { font-weight: 600; font-size: .85rem } dd { margin: 0 0 .4rem } details { margin-top: .4rem }
"""


Say = Callable[[str], str]  # translates a text


def page(reports: Sequence[ReportData], language: Language = "en") -> str:
    """Return reports as an HTML page. A text that has no translation is in English."""
    say = partial(told, language=language)
    body = "\n".join(line for report in reports for line in _service(report, say))
    at = escape(str(reports[0]["at"])) if reports else ""
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{say('Diagnosis')} {at}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{say('Diagnosis')}</h1><p class=meta>{at}</p>\n{body}\n</body></html>\n"
    )


def _service(report: ReportData, say: Say) -> Iterator[str]:
    yield f"<h2>{escape(_headline(report, say))}</h2>"
    for finding in report["findings"]:
        yield from _finding(finding, say)


def _headline(report: ReportData, say: Say) -> str:
    """Return the headline in the language of the page."""
    headline = report["headline"]
    name, _, rest = headline.partition(": ")
    severity, _, title = rest.partition(", ")
    begun = title[:1].upper() + title[1:]  # a title begins with a capital letter elsewhere
    own = say(begun)
    return say(headline) if own == begun else f"{name}: {say(severity)}, {own}"


def _finding(finding: FindingData, say: Say) -> Iterator[str]:
    follows = finding["follows_from"] or finding.get("listed_under")
    origin = say(_origin(finding)) if _origin(finding) else ""
    yield f'<article class="{escape(finding["severity"])}"><h3>{escape(say(finding["title"]))}</h3>'
    yield (
        f"<p class=meta>{escape(say(finding['severity']))} · "
        f"{escape(say(_certainty(finding)))} · "
        f"{escape(finding['check'])}{f' · {escape(origin)}' if origin else ''}</p>"
        f"<p>{escape(_sentence(finding['verdict'], say))}</p><ul>"
    )
    yield from (f"<li>{_exhibit(each, say)}</li>" for each in finding["evidence"])
    yield "</ul>"
    rest = "".join(
        f"<dt>{say(title)}</dt><dd>{'<br>'.join(escape(say(text)) for text in texts)}</dd>"
        for title, texts in (
            ("What to do", finding["remedy"]),
            (
                "Where to look" if "alert" in finding else "Next experiment",
                [finding["next_experiment"]],
            ),
            ("Other possible causes", finding["alternatives"]),
        )
        if texts
    )
    attribute = "" if follows else " open"
    summary = say("Remedy, experiment, alternatives")
    details = f"<summary>{summary}</summary><dl>{rest}</dl>"
    yield f"<details{attribute}>{details}</details></article>"


def _sentence(text: str, say: Say) -> str:
    own = say(text)
    return sentence(text) if own == text else f"{own}。"


def _origin(finding: FindingData) -> str:
    if service := finding.get("listed_under"):
        return f"listed in full under {service}"
    if finding["follows_from"]:
        return f"follows from {finding['follows_from']}"
    return "its cause is unknown" if "alert" in finding else ""


def _certainty(finding: FindingData) -> str:
    alert = finding.get("alert")
    return f"alert {alert['state']}" if alert else f"confidence {share(finding['confidence'])}"


def _exhibit(exhibit: ExhibitData, say: Say) -> str:
    text = escape(say(exhibit["says"]))
    link = exhibit.get("link")
    return f'<a href="{escape(link)}">{text}</a>' if link else text
