"""Checks on evidence written by hand: cases in which an earlier version was wrong."""

from collections.abc import Mapping

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.finding import Check, Finding, Severity, Sign
from safelight.diagnosis.queries import Statistic, Window, key
from safelight.metrics import catalog as c

HERE = "a:1"
Rows = list[tuple[dict[str, str], float]]
Facts = dict[str, Rows]
SUM, COUNT, NOW, HALF = Statistic.SUM, Statistic.COUNT, Window.LAST_THIRD, Window.SECOND_HALF


def reading(facts: Facts) -> Reading:
    return Reading(
        {
            name: [({"instance": HERE, **labels}, value) for labels, value in rows]
            for name, rows in facts.items()
        }
    )


def findings(
    now: Facts, before: Facts | None = None, yesterday: Facts | None = None
) -> list[Finding]:
    past = (reading(before or {}), reading(yesterday or {}))
    return judge(Evidence(Service("zimage", "job"), 1e9, Spans(), reading(now), *past))


def warnings(now: Facts, before: Facts | None = None, yesterday: Facts | None = None) -> list[str]:
    """Return the names of the checks that warn."""
    results = findings(now, before, yesterday)
    return [f.check.name for f in results if f.sign.severity >= Severity.WARNING]


def ended(**rates: float) -> Facts:
    """Return requests per second by their error, spread over two types."""
    rows = [
        ({"instruction_type": kind, "error": reason}, rate / 2)
        for reason, rate in rates.items()
        for kind in ("make_him_old", "other")
    ]
    total = sum(rates.values())
    return {
        key(c.REQUESTS): rows,
        key(c.REQUEST_SECONDS, COUNT): [({}, total)],
        key(c.REQUEST_SECONDS, SUM): [({}, total)],
    }


def test_an_outage_is_still_reported_after_an_hour() -> None:
    down = ended(model_error=1.0)

    assert "errors_rise" in warnings(down, down)
    assert findings(down, down)[0].sign.severity is Severity.CRITICAL


def test_a_new_error_is_reported_beside_a_usual_one() -> None:
    now = ended(none=0.45, not_an_image=0.3, timeout=0.25)
    [finding] = [f for f in findings(now, ended(none=0.7, not_an_image=0.3)) if f.sign.severity]

    assert (finding.check.name, finding.sign.subject) == ("errors_rise", "timeout")


def test_usual_errors_of_callers_are_not_reported() -> None:
    usual = ended(none=0.7, not_an_image=0.3)

    assert warnings(usual, usual) == []


def test_step_times_are_not_compared_with_call_times() -> None:
    calls: Facts = {
        key(c.INFERENCE_SECONDS, COUNT): [({"precision": "float16"}, 1.0)],
        key(c.INFERENCE_SECONDS, SUM): [({"precision": "float16"}, 2.0)],
    }
    steps: Facts = {
        key(c.STEP_SECONDS, COUNT): [({"step": "1-5"}, 20.0)],
        key(c.STEP_SECONDS, SUM): [({"step": "1-5"}, 2.0)],
    }

    assert warnings(calls, {**calls, **steps}) == []


def test_a_full_processor_without_past_data_and_without_effect_is_no_warning() -> None:
    assert warnings({key(c.HOST_CPU, window=NOW): [({}, 0.97)]}) == []


def test_idle_instances_do_not_hide_a_full_one() -> None:
    rows = [({"instance": f"{name}:1"}, share) for name, share in (("a", 1.0), ("b", 0.05))]
    now: Facts = {
        **ended(none=1.0),
        key(c.QUEUED_SECONDS, SUM): [({}, 0.8)],
        key(c.DEVICE_SECONDS): rows,
        key(c.DEVICE_SECONDS, window=NOW): rows,
        key(c.WORKERS_READY): [({"instance": f"{name}:1"}, 1.0) for name in "ab"],
    }

    assert warnings(now)[0] == "device_saturated"


def test_a_device_that_became_busy_late_in_the_window_is_full() -> None:
    """A new service: the window starts before its first traffic."""
    now: Facts = {
        **ended(none=1.0),
        key(c.QUEUED_SECONDS, SUM): [({}, 0.8)],
        key(c.QUEUE_DEPTH): [({}, 2.0)],
        key(c.QUEUE_DEPTH, Statistic.MAX): [({}, 8.0)],
        key(c.DEVICE_SECONDS): [({}, 0.3)],
        key(c.DEVICE_SECONDS, window=NOW): [({}, 0.95)],
        key(c.WORKERS_READY): [({}, 1.0)],
    }

    assert warnings(now) == ["device_saturated", "queue_saturated"]
    assert "bursts" not in findings(now)[1].sign.verdict


def test_severity_passes_from_an_effect_through_a_chain_of_causes() -> None:
    def check(name: str, severity: Severity, *explains: str) -> Check:
        sign = Sign(severity, 0.9, "a verdict", ())
        return Check(name, name, lambda _: iter([sign]), "", (), "", (), frozenset(explains))

    chain = (
        check("cause", Severity.WARNING, "effect"),
        check("effect", Severity.WARNING, "last"),
        check("last", Severity.CRITICAL),
    )
    results = judge(Evidence(Service("zimage", "job"), 1e9, Spans(), Reading()), chain)

    assert [(f.check.name, f.sign.severity) for f in results] == [
        (name, Severity.CRITICAL) for name in ("cause", "effect", "last")
    ]


def test_a_cause_gets_the_severity_of_its_worst_effect() -> None:
    now = ended(none=0.4, structure_corruption=0.6)
    first, second = findings(now)[:2]

    assert warnings(now)[:2] == ["structure_corruption", "errors_rise"]
    assert second.because == "structure_corruption"
    assert {first.sign.severity, second.sign.severity} == {Severity.CRITICAL}


def test_fragmentation_of_one_gpu_of_four_is_found() -> None:
    now: Facts = {
        key(c.VRAM_RESERVED, window=NOW): [({"device": "cuda:2"}, 22e9)],
        key(c.VRAM_USED, Statistic.MAX): [({"device": "cuda:2"}, 10e9)],
        key(c.GPU_MEMORY_TOTAL): [({"gpu": str(n)}, 24e9) for n in range(4)],
    }

    assert warnings(now) == ["fragmentation"]


def test_two_failures_in_thirty_thousand_requests_are_not_reported() -> None:
    rare = ended(none=100.0, cuda_oom=2 / 300)

    assert warnings(rare, rare) == []


def by_type(**counts: tuple[float, float]) -> Facts:
    """Return rates that give these numbers of good and failed requests in 300 s."""
    rows = [
        ({"instruction_type": kind, "error": reason}, number / 300)
        for kind, numbers in counts.items()
        for reason, number in zip(("none", "timeout"), numbers, strict=True)
    ]
    return {key(c.REQUESTS): rows}


def test_six_failures_of_one_type_are_attributed_to_the_type() -> None:
    usual = by_type(make_him_old=(37, 0), other=(48, 0))
    one_type = by_type(make_him_old=(31, 6), other=(48, 0))
    all_types = by_type(make_him_old=(30, 7), other=(44, 4))

    assert warnings(one_type, usual)[0] == "failing_instruction"
    assert warnings(all_types, usual) == ["errors_rise"]


def test_a_type_with_its_usual_failures_is_not_reported() -> None:
    usual = by_type(make_him_old=(31, 6), other=(48, 0))

    assert warnings(usual, usual) == []


def instances(busy: Mapping[str, float], requests: Mapping[str, float], workers: int = 1) -> Facts:
    """Return the busy share of instances and their requests in the last 100 s."""
    ready = [({"instance": each}, float(workers if each == "a" else 1)) for each in requests]
    return {
        key(c.WORKERS_READY): ready,
        key(c.DEVICE_SECONDS, window=NOW): [({"instance": i}, share) for i, share in busy.items()],
        key(c.REQUESTS, window=NOW): [({"instance": i}, n / 100) for i, n in requests.items()],
    }


def test_a_full_instance_beside_an_idle_one_has_uneven_load() -> None:
    [finding] = findings(instances({"a": 1.0, "b": 0.1}, {"a": 90, "b": 10}))

    assert (finding.check.name, finding.sign.subject) == ("uneven_load", "a")


def test_unequal_instances_are_healthy_if_none_is_full_or_none_is_idle() -> None:
    idle, busy = {"a": 0.6, "b": 0.1}, {"a": 2.0, "b": 0.9}

    assert findings(instances(idle, {"a": 90, "b": 10})) == []
    assert findings(instances({**busy, "b": 0.4}, {"a": 66, "b": 34}, workers=2)) == []
    assert findings(instances(busy, {"a": 90, "b": 10})) == []
    assert findings(instances({"a": 1.0, "b": 0.1}, {"a": 18, "b": 1})) == []


def scores(mean: float, number: float, seconds: float, buckets: Mapping[str, float]) -> Facts:
    kind, rate = {"instruction_type": "other"}, number / seconds
    return {
        key(c.QUALITY_SCORE, COUNT): [(kind, rate)],
        key(c.QUALITY_SCORE, SUM): [(kind, mean * rate)],
        key(c.QUALITY_SCORE, Statistic.BUCKETS): [
            ({**kind, "le": edge}, share * number) for edge, share in buckets.items()
        ],
    }


def test_the_same_fall_is_significant_only_if_scores_vary_little() -> None:
    narrow = {"0.6": 0.0, "0.7": 0.05, "0.75": 0.45, "0.8": 0.9, "+Inf": 1.0}
    wide = {"0.5": 0.2, "0.7": 0.5, "0.9": 0.8, "+Inf": 1.0}
    fallen = scores(0.68, 18, 300, {})

    assert warnings(fallen, scores(0.76, 216, 3600, narrow)) == ["quality_drift"]
    assert warnings(fallen, scores(0.76, 216, 3600, wide)) == []


def test_a_fall_in_the_second_half_is_reported_before_the_window_shows_it() -> None:
    kind = {"instruction_type": "other"}
    half: Facts = {
        key(c.QUALITY_SCORE, COUNT, HALF): [(kind, 9 / 150)],
        key(c.QUALITY_SCORE, SUM, HALF): [(kind, 9 / 150 * 0.6)],
    }
    past = scores(0.76, 216, 3600, {})

    assert warnings(scores(0.73, 18, 300, {}), past) == []
    assert warnings({**scores(0.73, 18, 300, {}), **half}, past) == ["quality_drift"]


def test_a_disk_is_judged_by_the_window_and_by_its_last_third() -> None:
    disk = {"disk": "sda"}
    usual: Facts = {key(c.HOST_DISK_BUSY): [(disk, 0.1)]}

    def at_load(window: float, recent: float) -> list[str]:
        now: Facts = {
            key(c.HOST_DISK_BUSY): [(disk, window)],
            key(c.HOST_DISK_BUSY, window=NOW): [(disk, recent)],
        }
        return warnings(now, usual)

    assert at_load(0.9, 0.7) == at_load(0.5, 0.95) == ["disk_busy"]
    assert at_load(0.6, 0.7) == []


def steps(mean: float, window: Window = Window.WHOLE, late: float = 1.0) -> Facts:
    """Return a call per second of twenty steps; `late` is the factor on steps from 11 on."""
    numbers = {"1-5": 5.0, "6-10": 5.0, "11-20": 10.0}
    times = {"1-5": 5 * mean, "6-10": 5 * mean, "11-20": 10 * mean * late}
    call = {"precision": "float16"}
    return {
        key(c.STEP_SECONDS, COUNT, window): [({"step": p}, n) for p, n in numbers.items()],
        key(c.STEP_SECONDS, SUM, window): [({"step": p}, time) for p, time in times.items()],
        key(c.INFERENCE_SECONDS, COUNT, window): [(call, 1.0)],
        key(c.INFERENCE_SECONDS, SUM, window): [(call, sum(times.values()))],
    }


def test_a_model_slower_in_the_second_half_is_reported_before_the_window_shows_it() -> None:
    usual, window = steps(0.1), steps(0.125)

    assert warnings({**window, **steps(0.15, HALF)}, usual) == ["slow_steps"]
    assert warnings({**window, **steps(0.135, HALF)}, usual) == []


def test_other_causes_of_slow_steps_are_searched_in_the_same_half() -> None:
    usual, slower = steps(0.1), {**steps(0.125), **steps(0.15, HALF)}
    late = {**steps(0.1, late=1.25), **steps(0.1, HALF, late=2.0)}
    larger_batches: Facts = {
        **slower,
        key(c.BATCH_SIZE, COUNT, HALF): [({}, 1.0)],
        key(c.BATCH_SIZE, SUM, HALF): [({}, 4.0)],
    }
    usual_batches: Facts = {
        key(c.BATCH_SIZE, COUNT): [({}, 1.0)],
        key(c.BATCH_SIZE, SUM): [({}, 2.0)],
    }
    large: Facts = {key(c.IMAGES, window=HALF): [({"image_size": "1024x1024"}, 1.0)]}
    small: Facts = {key(c.IMAGES): [({"image_size": "512x512"}, 1.0)]}
    resized = findings({**slower, **large}, {**usual, **small})

    assert warnings(late, usual)[0] == "slow_late_steps"
    assert warnings(larger_batches, {**usual, **usual_batches}) == []
    assert [(f.check.name, f.sign.severity) for f in resized] == [("slow_steps", Severity.INFO)]


def destroyed(number: float, requests: float, seconds: float = 300) -> Facts:
    return ended(none=(requests - number) / seconds, structure_corruption=number / seconds)


DESTROYED = ["structure_corruption", "errors_rise"]


def test_five_destroyed_edits_of_fifty_can_be_chance_if_one_of_eighty_is_usual() -> None:
    usual = destroyed(43, 3600, 3600)

    assert warnings(destroyed(5, 51), usual, usual) == []
    assert warnings(destroyed(9, 51), usual, usual) == DESTROYED
    assert warnings(destroyed(30, 300), usual, usual) == DESTROYED


def test_chance_is_considered_only_with_healthy_past_data() -> None:
    five, usual = destroyed(5, 51), destroyed(43, 3600, 3600)
    outage = destroyed(360, 3600, 3600)

    assert warnings(five) == DESTROYED
    assert warnings(five, destroyed(0, 40, 3600)) == DESTROYED
    assert warnings(five, outage) == ["structure_corruption"]
    assert warnings(five, outage, usual) == DESTROYED


def test_the_first_minutes_of_an_outage_in_the_past_do_not_hide_it() -> None:
    """Five minutes of the hour before belong to the outage."""
    usual = destroyed(13, 1080, 3600)

    assert warnings(destroyed(9, 90), destroyed(21, 1080, 3600), usual) == DESTROYED


def test_black_images_that_can_be_chance_are_only_information() -> None:
    def black(number: float, requests: float, seconds: float) -> Facts:
        rows: Rows = [({"reason": "black"}, number / seconds)]
        return {**ended(none=requests / seconds), key(c.OUTPUT_INVALID): rows}

    usual = black(36, 3600, 3600)
    [finding] = findings(black(5, 51, 300), usual)

    assert (finding.check.name, finding.sign.severity) == ("invalid_outputs", Severity.INFO)
    assert warnings(black(12, 51, 300), usual) == ["invalid_outputs"]


def test_a_crash_loop_needs_two_restarts_or_one_with_three_in_the_hour_before() -> None:
    def restarts(number: float, seconds: float) -> Facts:
        return {key(c.WORKER_RESTARTS): [({"reason": "died"}, number / seconds)]}

    assert warnings(restarts(2, 300)) == ["crash_loop"]
    assert warnings(restarts(1, 300), restarts(3, 3600)) == ["crash_loop"]
    assert warnings(restarts(1, 300), restarts(2, 3600)) == []


def test_a_circuit_is_reported_by_its_refusals_too() -> None:
    state: Facts = {key(c.CIRCUIT_OPEN, Statistic.MAX): [({}, 1.0)]}
    trial: Facts = {key(c.CIRCUIT_OPEN, Statistic.MAX): [({}, 0.5)]}
    refusals = ended(none=1.0, circuit_open=12 / 300)

    assert warnings(state) == ["circuit_open"]
    assert warnings(trial) == []
    assert "circuit_open" in warnings({**trial, **refusals})


def test_a_batch_cap_is_wrong_if_it_is_one_or_half_of_the_usual() -> None:
    def capped(limit: float, share: float) -> Facts:
        return {
            **ended(none=1.0),
            key(c.QUEUED_SECONDS, SUM): [({}, 0.5)],
            key(c.BATCH_LIMIT, Statistic.LAST): [({}, limit)],
            key(c.BATCH_SIZE, COUNT): [
                ({"stop_reason": "cap"}, share),
                ({"stop_reason": "queue_empty"}, 1 - share),
            ],
            key(c.BATCH_SIZE, SUM): [({}, 1.0)],
        }

    usual: Facts = {key(c.BATCH_LIMIT): [({}, 8.0)]}

    assert warnings(capped(1, 0.55)) == ["wrong_batch_cap"]
    assert warnings(capped(1, 0.45)) == []
    assert warnings(capped(4, 0.25), usual) == ["wrong_batch_cap"]
    assert warnings(capped(4, 0.15), usual) == []
    assert warnings(capped(5, 0.9), usual) == []


def test_each_instance_with_a_blocked_event_loop_is_reported() -> None:
    lag = [({"instance": "a:1"}, 0.5), ({"instance": "b:1"}, 0.01)]
    beats = [({"instance": "a:1"}, 5.0), ({"instance": "b:1"}, 9.9)]
    [finding] = findings({key(c.HTTP_LAG, SUM): lag, key(c.HTTP_LAG, COUNT): beats})

    assert (finding.check.name, finding.sign.subject) == ("event_loop_blocked", "a:1")
    assert "50 % of the time" in finding.sign.verdict
    assert "asyncio.to_thread" in finding.check.remedy[0]


def test_a_blocked_event_loop_explains_slow_uploads() -> None:
    slow: Facts = {**ended(none=1.0), key(c.REQUEST_SECONDS, SUM): [({}, 1.0)]}
    receive = {"stage": "receive"}
    now: Facts = {
        **slow,
        key(c.STAGE_SECONDS, SUM): [(receive, 0.6)],
        key(c.STAGE_SECONDS, COUNT): [(receive, 1.0)],
        key(c.HTTP_LAG, SUM): [({}, 0.5)],
        key(c.HTTP_LAG, COUNT): [({}, 5.0)],
    }

    assert warnings(now) == ["event_loop_blocked", "slow_upload"]


def slow_at_first(**device: str) -> Finding:
    """Return the finding of a service whose first steps are slow, on this device."""
    steps = {"1-5": 2.0, "6-10": 0.2, "11-20": 0.2}
    now: Facts = {
        key(c.STEP_SECONDS, COUNT): [({"step": place}, 1.0) for place in steps],
        key(c.STEP_SECONDS, SUM): [({"step": place}, value) for place, value in steps.items()],
        key(c.MODEL_INFO): [({"precision": "float16", **device}, 1.0)] if device else [],
    }
    return next(f for f in findings(now) if f.check.name == "slow_early_steps")


def test_one_call_alone_does_not_show_that_its_last_steps_are_slow() -> None:
    window, once = 300.0, steps(0.1, late=8.0)

    def found(calls: int) -> list[str]:
        return warnings(
            {
                fact: [(of, calls * rate / window) for of, rate in rows]
                for fact, rows in once.items()
            }
        )

    assert found(1) == []
    assert found(12) == ["slow_late_steps"]


def test_steps_are_named_in_the_order_of_their_positions() -> None:
    [exhibit] = slow_at_first().sign.exhibits
    assert exhibit.says == "mean step time by place: 1-5: 2 s, 6-10: 200 ms, 11-20: 200 ms"


def test_advice_on_cudnn_is_given_for_a_gpu_by_nvidia_only() -> None:
    assert "cudnn" in " ".join(slow_at_first(device="cuda:0").check.remedy)
    for device in ({"device": "cpu"}, {"device": "mps"}, {}):
        remedy = slow_at_first(**device).check.remedy
        assert remedy
        assert "cudnn" not in " ".join(remedy)


def test_other_causes_on_a_processor_name_no_gpu() -> None:
    assert "GPU" not in " ".join(slow_at_first(device="cpu").check.alternatives)
    assert "GPU" in " ".join(slow_at_first(device="cuda:0").check.alternatives)


def test_a_model_that_sleeps_is_not_broken() -> None:
    """No worker reads the torch probe, and the first request waits until the model is loaded."""
    now: Facts = {
        **ended(none=1.0),
        key(c.REQUEST_SECONDS, SUM): [({}, 4.0)],
        key(c.REQUEST_SECONDS, COUNT): [({}, 1.0)],
        key(c.QUEUED_SECONDS, SUM): [({}, 3.0)],
        key(c.DEVICE_SECONDS): [({"instance": "a:1"}, 0.1)],
        key(c.WORKERS_READY): [({"instance": "a:1"}, 0.5)],
        key(c.PROBE_TIMESTAMP, Statistic.LAST): [
            ({"instance": "a:1", "probe": "torch"}, 1e9 - 900)
        ],
    }
    assert {"device_starved", "monitoring_gap"} <= set(warnings(now))

    asleep: Facts = {**now, key(c.MODEL_ASLEEP, Statistic.MAX): [({"instance": "a:1"}, 1.0)]}
    assert warnings(asleep) == []
    host = [({"instance": "a:1", "probe": "host"}, 1e9 - 900)]
    other: Facts = {**asleep, key(c.PROBE_TIMESTAMP, Statistic.LAST): host}
    assert "monitoring_gap" in warnings(other)
