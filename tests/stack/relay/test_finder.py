from threading import Event

from safelight.stack.relay.finder import Finder
from safelight.stack.relay.notice import parse
from tests.stack.webhooks import alert, webhook

FIRING = parse(webhook())


async def test_a_notice_gets_the_first_finding_of_its_job() -> None:
    asked: list[str] = []

    def diagnose(job: str) -> str:
        asked.append(job)
        return "The model is slow."

    assert (await Finder(diagnose).explain(FIRING)).finding == "The model is slow."
    assert asked == ["safelight"]


async def test_a_resolved_alert_or_one_without_a_job_is_not_diagnosed() -> None:
    finder = Finder(lambda _: "found")
    for body in (webhook(alert(resolved=True)), webhook(commonLabels={})):
        assert (await finder.explain(parse(body))).finding == ""


async def test_a_slow_diagnosis_does_not_hold_the_page_back_and_does_not_pile_up() -> None:
    wait, asked = Event(), []

    def diagnose(job: str) -> str:
        asked.append(job)
        wait.wait(30)
        return "late"

    finder = Finder(diagnose, limit_seconds=0.01)
    try:
        found = [(await finder.explain(FIRING)).finding for _ in range(5)]
    finally:
        wait.set()
    assert found == [""] * 5
    assert len(asked) == 2


async def test_a_failed_diagnosis_leaves_the_notice_as_it_was() -> None:
    def diagnose(job: str) -> str:
        raise RuntimeError(job)

    assert await Finder(diagnose).explain(FIRING) == FIRING
