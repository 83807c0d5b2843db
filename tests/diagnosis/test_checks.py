"""What checks say of evidence made by hand: the cases that a first version of them got wrong."""

from collections.abc import Mapping
from typing import Any

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.finding import Check, Finding, Severity, Sign
from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric

HERE = "a:1"
Facts = Mapping[tuple[Metric, str], list[tuple[dict[str, str], float]]]


def reading(facts: Facts) -> Reading:
    rows: dict[str, Any] = {}
    for (metric, part), found in facts.items():
        name = f"{metric.name}.{part}" if part else metric.name
        rows[name] = [({"instance": HERE, **labels}, value) for labels, value in found]
    return Reading(rows)


def said(now: Facts, before: Facts | None = None, yesterday: Facts | None = None) -> list[Finding]:
    past = (reading(before or {}), reading(yesterday or {}))
    return judge(Evidence(Service("zimage", "job"), 1e9, Spans(), reading(now), *past))


def warned(findings: list[Finding]) -> list[str]:
    return [f.check.name for f in findings if f.sign.severity >= Severity.WARNING]


def ended(**rates: float) -> Facts:
    rows = [
        ({"instruction_type": kind, "error": reason}, rate / 2)
        for reason, rate in rates.items()
        for kind in ("make_him_old", "other")
    ]
    whole = sum(rates.values())
    return {
        (c.REQUESTS, ""): rows,
        (c.REQUEST_SECONDS, "count"): [({}, whole)],
        (c.REQUEST_SECONDS, "sum"): [({}, whole)],
    }


def test_an_outage_that_lasts_an_hour_is_still_one() -> None:
    down = ended(model_error=1.0)
    found = said(down, down)
    assert "errors_rise" in warned(found)
    assert found[0].sign.severity is Severity.CRITICAL


def test_a_new_reason_is_seen_beside_one_that_was_always_there() -> None:
    now = ended(none=0.45, not_an_image=0.3, timeout=0.25)
    [found] = [f for f in said(now, ended(none=0.7, not_an_image=0.3)) if f.sign.severity]
    assert (found.check.name, found.sign.subject) == ("errors_rise", "timeout")


def test_what_callers_always_did_wrong_is_no_news() -> None:
    usual = ended(none=0.7, not_an_image=0.3)
    assert warned(said(usual, usual)) == []


def test_steps_are_compared_with_steps_and_calls_with_calls() -> None:
    calls: dict[Any, Any] = {
        (c.INFERENCE_SECONDS, "count"): [({"precision": "float16"}, 1.0)],
        (c.INFERENCE_SECONDS, "sum"): [({"precision": "float16"}, 2.0)],
    }
    steps: dict[Any, Any] = {
        (c.STEP_SECONDS, "count"): [({"step": "1-5"}, 20.0)],
        (c.STEP_SECONDS, "sum"): [({"step": "1-5"}, 2.0)],
    }
    assert warned(said(calls, {**calls, **steps})) == []


def test_a_full_processor_without_a_past_and_without_harm_is_no_warning() -> None:
    assert warned(said({(c.HOST_CPU, "lately"): [({}, 0.97)]})) == []


def test_a_full_instance_is_not_hidden_by_idle_ones() -> None:
    rows = [({"instance": f"{name}:1"}, share) for name, share in (("a", 1.0), ("b", 0.05))]
    now: dict[Any, Any] = {
        **ended(none=1.0),
        (c.QUEUED_SECONDS, "sum"): [({}, 0.8)],
        (c.DEVICE_SECONDS, ""): rows,
        (c.DEVICE_SECONDS, "lately"): rows,
        (c.WORKERS_READY, ""): [({"instance": f"{name}:1"}, 1.0) for name in "ab"],
    }
    assert warned(said(now))[0] == "device_saturated"


def test_a_device_that_began_to_work_late_in_the_window_is_full_and_does_not_idle() -> None:
    """As in a newcomer's first minutes: the window reaches back before there was any traffic."""
    now: dict[Any, Any] = {
        **ended(none=1.0),
        (c.QUEUED_SECONDS, "sum"): [({}, 0.8)],
        (c.QUEUE_DEPTH, ""): [({}, 2.0)],
        (c.QUEUE_DEPTH, "max"): [({}, 8.0)],
        (c.DEVICE_SECONDS, ""): [({}, 0.3)],
        (c.DEVICE_SECONDS, "lately"): [({}, 0.95)],
        (c.WORKERS_READY, ""): [({}, 1.0)],
    }
    found = said(now)
    assert warned(found) == ["device_saturated", "queue_saturated"]
    assert "bursts" not in found[1].sign.verdict


def test_a_cause_is_as_severe_as_the_worst_that_follows_from_what_follows() -> None:
    def made(name: str, severity: Severity, *explains: str) -> Check:
        sign = Sign(severity, 0.9, "it is so", ())
        return Check(name, name, lambda _: iter([sign]), "", (), "", (), frozenset(explains))

    chain = (
        made("cause", Severity.WARNING, "effect"),
        made("effect", Severity.WARNING, "last"),
        made("last", Severity.CRITICAL),
    )
    found = judge(Evidence(Service("zimage", "job"), 1e9, Spans(), Reading()), chain)
    assert [(f.check.name, f.sign.severity) for f in found] == [
        (name, Severity.CRITICAL) for name in ("cause", "effect", "last")
    ]


def test_a_cause_is_as_severe_as_the_worst_that_follows_from_it() -> None:
    found = said(ended(none=0.4, structure_corruption=0.6))
    assert warned(found)[:2] == ["structure_corruption", "errors_rise"]
    assert found[1].because == "structure_corruption"
    assert {each.sign.severity for each in found[:2]} == {Severity.CRITICAL}


def test_fragments_are_seen_on_one_card_of_four() -> None:
    now: dict[Any, Any] = {
        (c.VRAM_RESERVED, "lately"): [({"device": "cuda:2"}, 22e9)],
        (c.VRAM_USED, "max"): [({"device": "cuda:2"}, 10e9)],
        (c.GPU_MEMORY_TOTAL, ""): [({"gpu": str(n)}, 24e9) for n in range(4)],
    }
    assert warned(said(now)) == ["fragmentation"]


def test_two_failures_in_thirty_thousand_are_no_trend() -> None:
    rare = ended(none=100.0, cuda_oom=2 / 300)
    assert warned(said(rare, rare)) == []


def _by_type(**counts: tuple[float, float]) -> Facts:
    """Return the rates of good and of failed requests, by type, that give these counts in 300 s."""
    rows = [
        ({"instruction_type": kind, "error": reason}, number / 300)
        for kind, told in counts.items()
        for reason, number in zip(("none", "timeout"), told, strict=True)
    ]
    return {(c.REQUESTS, ""): rows}


def test_six_failures_of_one_type_among_many_requests_of_others_are_the_types() -> None:
    usual = _by_type(make_him_old=(37, 0), other=(48, 0))
    one = said(_by_type(make_him_old=(31, 6), other=(48, 0)), usual)
    all_alike = said(_by_type(make_him_old=(30, 7), other=(44, 4)), usual)

    assert warned(one)[0] == "failing_instruction"
    assert warned(all_alike) == ["errors_rise"]


def test_a_type_that_always_failed_so_often_is_no_news_by_few_failures() -> None:
    usual = _by_type(make_him_old=(31, 6), other=(48, 0))
    assert warned(said(usual, usual)) == []


def _spread(at_work: Mapping[str, float], got: Mapping[str, float], workers: int = 1) -> Facts:
    """Return instances at work for a share of the time, and what they get in the last 100 s."""
    ready = [({"instance": each}, float(workers if each == "a" else 1)) for each in got]
    return {
        (c.WORKERS_READY, ""): ready,
        (c.DEVICE_SECONDS, "lately"): [({"instance": i}, share) for i, share in at_work.items()],
        (c.REQUESTS, "lately"): [({"instance": i}, number / 100) for i, number in got.items()],
    }


def test_an_instance_that_is_full_beside_an_idle_one_gets_more_than_its_share() -> None:
    [found] = said(_spread({"a": 1.0, "b": 0.1}, {"a": 90, "b": 10}))
    assert (found.check.name, found.sign.subject) == ("uneven_load", "a")


def test_unequal_instances_that_are_fine_share_as_they_should() -> None:
    idle, busy = {"a": 0.6, "b": 0.1}, {"a": 2.0, "b": 0.9}
    assert said(_spread(idle, {"a": 90, "b": 10})) == []
    assert said(_spread({**busy, "b": 0.4}, {"a": 66, "b": 34}, workers=2)) == []
    assert said(_spread(busy, {"a": 90, "b": 10})) == []
    assert said(_spread({"a": 1.0, "b": 0.1}, {"a": 18, "b": 1})) == []


def _scores(mean: float, number: float, seconds: float, below: Mapping[str, float]) -> Facts:
    kind, rate = {"instruction_type": "other"}, number / seconds
    return {
        (c.QUALITY_SCORE, "count"): [(kind, rate)],
        (c.QUALITY_SCORE, "sum"): [(kind, mean * rate)],
        (c.QUALITY_SCORE, "below"): [
            ({**kind, "le": edge}, share * number) for edge, share in below.items()
        ],
    }


def test_scores_that_lie_close_tell_a_fall_that_scattered_ones_do_not() -> None:
    close = {"0.6": 0.0, "0.7": 0.05, "0.75": 0.45, "0.8": 0.9, "+Inf": 1.0}
    wide = {"0.5": 0.2, "0.7": 0.5, "0.9": 0.8, "+Inf": 1.0}
    fell = _scores(0.68, 18, 300, {})

    assert warned(said(fell, _scores(0.76, 216, 3600, close))) == ["quality_drift"]
    assert warned(said(fell, _scores(0.76, 216, 3600, wide))) == []


def test_a_fall_of_the_windows_later_half_is_told_before_the_whole_shows_it() -> None:
    kind = {"instruction_type": "other"}
    half: dict[Any, Any] = {
        (c.QUALITY_SCORE, "count.half"): [(kind, 9 / 150)],
        (c.QUALITY_SCORE, "sum.half"): [(kind, 9 / 150 * 0.6)],
    }
    past = _scores(0.76, 216, 3600, {})

    assert warned(said(_scores(0.73, 18, 300, {}), past)) == []
    assert warned(said({**_scores(0.73, 18, 300, {}), **half}, past)) == ["quality_drift"]


def test_a_disk_that_is_busy_all_the_window_is_told_whatever_its_end_happens_to_show() -> None:
    disk = {"disk": "sda"}
    usual: Facts = {(c.HOST_DISK_BUSY, ""): [(disk, 0.1)]}

    def at_work(whole: float, lately: float) -> list[str]:
        now: Facts = {
            (c.HOST_DISK_BUSY, ""): [(disk, whole)],
            (c.HOST_DISK_BUSY, "lately"): [(disk, lately)],
        }
        return warned(said(now, usual))

    assert at_work(0.9, 0.7) == at_work(0.5, 0.95) == ["disk_busy"]
    assert at_work(0.6, 0.7) == []


def _steps(mean: float, part: str = "", late: float = 1.0) -> dict[Any, Any]:
    """Return a service's steps and calls, a call a second of twenty steps, of a part's means."""
    places = {"1-5": 5 * mean, "6-10": 5 * mean, "11-20": 10 * mean * late}
    count, total = (f"{each}.{part}".rstrip(".") for each in ("count", "sum"))
    return {
        (c.STEP_SECONDS, count): [
            ({"step": place}, number)
            for place, number in {"1-5": 5.0, "6-10": 5.0, "11-20": 10.0}.items()
        ],
        (c.STEP_SECONDS, total): [({"step": place}, spent) for place, spent in places.items()],
        (c.INFERENCE_SECONDS, count): [({"precision": "float16"}, 1.0)],
        (c.INFERENCE_SECONDS, total): [({"precision": "float16"}, sum(places.values()))],
    }


def test_a_slower_model_is_told_by_the_windows_later_half_before_the_whole_shows_it() -> None:
    usual, whole = _steps(0.1), _steps(0.125)
    assert warned(said({**whole, **_steps(0.15, "half")}, usual)) == ["slow_steps"]
    assert warned(said({**whole, **_steps(0.135, "half")}, usual)) == []


def test_what_explains_slower_steps_is_looked_for_in_the_same_half() -> None:
    usual, whole = _steps(0.1), _steps(0.1, late=1.25)
    late = {**whole, **_steps(0.1, "half", late=2.0)}
    larger = {
        **_steps(0.125),
        **_steps(0.15, "half"),
        (c.BATCH_SIZE, "count.half"): [({}, 1.0)],
        (c.BATCH_SIZE, "sum.half"): [({}, 4.0)],
    }
    alone: Facts = {(c.BATCH_SIZE, "count"): [({}, 1.0)], (c.BATCH_SIZE, "sum"): [({}, 2.0)]}
    others: Facts = {(c.IMAGES, "half"): [({"image_size": "1024x1024"}, 1.0)]}
    small: Facts = {(c.IMAGES, ""): [({"image_size": "512x512"}, 1.0)]}

    assert warned(said(late, usual))[0] == "slow_late_steps"
    assert warned(said(larger, {**usual, **alone})) == []
    sized = said({**_steps(0.125), **_steps(0.15, "half"), **others}, {**usual, **small})
    assert warned(sized) == []
    assert [found.check.name for found in sized] == ["slow_steps"]


def _destroyed(lost: float, of: float, seconds: float = 300) -> Facts:
    return ended(none=(of - lost) / seconds, structure_corruption=lost / seconds)


HURT = ["structure_corruption", "errors_rise"]


def test_five_edits_of_fifty_where_one_in_eighty_always_was_destroyed_may_be_chance() -> None:
    usual = _destroyed(43, 3600, 3600)

    assert warned(said(_destroyed(5, 51), usual, usual)) == []
    assert warned(said(_destroyed(9, 51), usual, usual)) == HURT
    assert warned(said(_destroyed(30, 300), usual, usual)) == HURT


def test_nothing_is_chance_without_a_past_or_where_the_past_was_not_well() -> None:
    five, long_ago = _destroyed(5, 51), _destroyed(43, 3600, 3600)
    lasts = _destroyed(360, 3600, 3600)

    assert warned(said(five)) == HURT
    assert warned(said(five, _destroyed(0, 40, 3600))) == HURT
    assert warned(said(five, lasts)) == ["structure_corruption"]
    assert warned(said(five, lasts, long_ago)) == HURT


def test_an_outage_that_began_ten_minutes_ago_is_not_hidden_by_its_own_beginning() -> None:
    """Of the hour before, five minutes are of the outage."""
    usual = _destroyed(13, 1080, 3600)
    assert warned(said(_destroyed(9, 90), _destroyed(21, 1080, 3600), usual)) == HURT


def test_black_pictures_that_may_be_chance_are_only_to_know() -> None:
    def broken(number: float, of: float, seconds: float) -> Facts:
        rows = [({"reason": "black"}, number / seconds)]
        return {**ended(none=of / seconds), (c.OUTPUT_INVALID, ""): rows}

    usual = broken(36, 3600, 3600)
    [found] = said(broken(5, 51, 300), usual)
    assert (found.check.name, found.sign.severity) == ("invalid_outputs", Severity.INFO)
    assert warned(said(broken(12, 51, 300), usual)) == ["invalid_outputs"]
