import pytest

from safelight.metrics.merge import OwnPage, joined, page_of

OURS = (
    b"# HELP a_total A.\n# TYPE a_total counter\na_total 1.0\n# HELP b B.\n# TYPE b gauge\nb 2.0\n"
)


def test_families_that_exist_are_not_added_again() -> None:
    theirs = b"# HELP b Theirs.\n# TYPE b gauge\nb 9.0\n"
    assert joined(theirs, OURS) == theirs + OURS[: OURS.index(b"# HELP b")]


def test_a_page_without_a_last_line_break_is_completed() -> None:
    assert joined(b"x 1.0", OURS) == b"x 1.0\n" + OURS


def test_openmetrics_ends_once() -> None:
    assert joined(b"x 1.0\n# EOF\n", OURS + b"# EOF\n") == b"x 1.0\n" + OURS + b"# EOF\n"


def test_an_empty_page_adds_nothing() -> None:
    assert joined(b"", OURS) == OURS


@pytest.mark.parametrize(
    ("status", "content_type", "body", "is_page"),
    [
        (200, "text/plain; version=0.0.4", OURS, True),
        (200, "text/plain", b'http_requests_total{a="b"} 1\n', True),
        (200, "application/openmetrics-text; version=1.0.0", OURS, True),
        (200, "text/plain", b"hello, who are you?", False),
        (200, "text/plain", b"", False),
        (200, "text/html", OURS, False),
        (404, "text/plain", OURS, False),
        (307, "text/plain", OURS, False),
    ],
)
def test_only_an_exposition_is_a_page(
    status: int, content_type: str, body: bytes, is_page: bool
) -> None:
    page = page_of(status, content_type, body)
    assert page == (OwnPage(body, content_type) if is_page else None)
