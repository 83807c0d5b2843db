"""Simulate an instance of a service, scrape by scrape, for stories and tests of the diagnosis.

The queue is a fluid model: requests that the device cannot serve in one step wait for the next.
Each request becomes a Record and passes through the real meter, so the series are the real ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import exp
from random import Random

from safelight.errors import StructureCorruption
from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric
from safelight.metrics.registry import Meter, current, parts
from safelight.reasons import NO_ERROR
from safelight.stories.conditions import MODEL, Conditions
from safelight.telemetry.meter import metrics_sink
from safelight.telemetry.record import Facts, PipelineCall, Record

_BLOCKING_SECONDS = 0.95
_FIXED = 0.55  # share of a call's time that does not depend on the batch size

Sample = tuple[str, str, float]  # kind of the family, series, value


class Instance:
    """One instance of a service, as Prometheus scrapes it. `keep` selects series by name."""

    def __init__(
        self, namespace: str, target: str, seed: int, keep: Callable[[str], bool] = bool
    ) -> None:
        self._namespace = namespace
        self._target = target
        self._keep = keep
        self._random = Random(seed)
        self._keys: dict[tuple[str, tuple[str, ...]], list[tuple[int, str]]] = {}
        self._totals: dict[str, float] = {}
        self._start(0.0)

    def step(self, at: float, seconds: float, now: Conditions) -> list[Sample]:
        """Simulate the step that ends at a time, and return the samples of a scrape then."""
        self._at = at
        if now.starts:
            self._start(at)
        self._serve(seconds, now)
        if not now.up:
            return [("gauge", f"up{{{self._target}}}", 0.0)]
        self._measure(at, seconds, now)
        self._check_model(now)
        return [*self._scrape(), *self._process(now)]

    # ── Serving ──────────────────────────────────────────────────────────────────────────────────

    def _start(self, at: float) -> None:
        self._at = at
        self._meter = Meter(self._namespace, wall_clock=lambda: self._at)
        self._write = metrics_sink(self._meter)
        self._backlog, self._busy, self._number = 0.0, 0.0, 0
        self._started = at
        self._totals.clear()
        self._meter.start_at_zero(c.REJECTED, c.WORKER_RESTARTS, c.OUTPUT_INVALID, c.DEVICE_SECONDS)
        self._meter.start_at_zero(c.WARM_UPS, c.GUIDANCE_OVERRIDDEN, c.LOG_LINES_LOST)

    def _serve(self, seconds: float, now: Conditions) -> None:
        arrivals = self._poisson(now.rate * seconds)
        free_places = max(0.0, now.queue_limit - self._backlog)
        capacity = self._capacity(now) * seconds
        accepted = min(arrivals, int(capacity + free_places))
        self._refuse(arrivals - accepted, now)
        self._backlog += accepted
        served = min(self._backlog, capacity)
        self._backlog -= served
        self._busy = served / capacity if capacity > 0 else 0.0
        batch = self._batch(now)
        wait = self._backlog / max(1e-9, self._capacity(now))
        wait += now.call_seconds * 0.5 * self._busy / max(0.08, 1.08 - self._busy)
        steps = tuple(now.step(number) for number in range(1, now.steps + 1))
        wait += now.held
        for _ in range(accepted):
            self._respond(now, wait, batch, steps)
        self._meter.add(c.DEVICE_SECONDS, "useful", amount=self._busy * seconds * now.ready)
        self._meter.set(c.QUEUE_DEPTH, value=round(self._backlog + now.rate * now.held))
        self._meter.set(c.CIRCUIT_OPEN, value=float(now.circuit > 0))
        work = self._backlog / max(1e-9, self._capacity(now))
        self._meter.set(c.QUEUED_WORK, "normal", value=work)
        self._meter.set(c.BATCH_LIMIT, value=now.batch_limit)
        gain = now.speedup or 1 / (_FIXED / now.batch_limit + 1 - _FIXED)
        self._meter.set(c.BATCH_SPEEDUP, value=gain)

    def _check_model(self, now: Conditions) -> None:
        for state in c.MODEL_STATE.values or ():
            self._meter.set(c.CANARY_WORKERS, state, value=now.ready * (state == now.canary))
        self._meter.set(c.CANARY_DRIFT, value=self._about(now.drift, 0.1))
        self._meter.set(c.READINESS_FORCED, value=float(now.canary in ("wrong", "hung", "dead")))

    def _capacity(self, now: Conditions) -> float:
        """Return the images per second that the device can make."""
        each = now.call_seconds * (_FIXED / now.batch_limit + 1 - _FIXED)
        return max(now.ready, 0.2) / each  # a worker that loads is ready soon

    def _batch(self, now: Conditions) -> int:
        full = self._backlog >= now.batch_limit
        size = now.batch_limit if full else 1 + (now.batch_limit - 1) * self._busy**4
        return max(1, round(size))

    def _refuse(self, number: int, now: Conditions) -> None:
        for _ in range(number):
            self._meter.add(c.REJECTED, "queue_full")
            self._record(self._pick(now.types), 503, "overloaded", {"receive": 0.01}, ())

    def _respond(self, now: Conditions, wait: float, batch: int, means: Sequence[float]) -> None:
        kind = self._pick(now.types)
        if now.circuit and self._random.random() < now.circuit:
            self._record(kind, 503, "circuit_open", {"receive": 0.01}, ())
            return
        reason, part = now.failures.get(kind) or now.failures.get("*") or (NO_ERROR, 0.0)
        error = reason if self._random.random() < part else NO_ERROR
        compiles = self._random.random() < now.compiled
        slower = _FIXED + (1 - _FIXED) * batch
        stages = {name: self._about(mean, now.noise) for name, mean in now.stages.items()}
        steps = tuple(self._about(mean * slower, now.noise) for mean in means)
        stages["denoise"] = sum(steps) + (20.0 if compiles else 0.0)
        stages["queue"] = self._about(wait, 0.5) if wait > 0 else 0.0
        self._number += 1
        leads = self._number % batch == 0
        width, _, height = self._pick(now.sizes).partition("x")
        call = PipelineCall(
            "Pipeline",
            kind,
            now.precision,
            sum(steps) + sum(stages[s] for s in MODEL),
            step_seconds=steps,
            images=((int(width), int(height)),) if error == NO_ERROR else (),
            leads=leads,
            batch=batch,
            warm_up=compiles and leads,
            overridden=("image_guidance_scale",) if self._random.random() < now.overridden else (),
        )
        if leads:
            cause = "cap" if batch >= now.batch_limit else "queue_empty"
            self._meter.observe(c.BATCH_SIZE, cause, value=batch)
        busy = self._random.random() < now.busy
        error = self._assess(now, kind, error, busy=busy)
        if self._random.random() < now.invalid:
            error = "invalid_output"
            self._meter.add(c.OUTPUT_INVALID, "black")
        status = 200 if error in (NO_ERROR, StructureCorruption.reason) else 500
        self._record(kind, status, error, stages, (call,), busy=busy)

    def _assess(self, now: Conditions, kind: str, error: str, *, busy: bool) -> str:
        """Assess the output as the service does, and return the reason of the request."""
        destroyed = now.corrupted_busy if busy else now.corrupted
        if error == NO_ERROR and self._random.random() < destroyed:
            error = StructureCorruption.reason
        if self._random.random() < now.scored:
            score = min(1.0, max(0.0, self._random.gauss(now.score, 0.07)))
            self._meter.observe(c.QUALITY_SCORE, kind, value=score)
        return error

    def _record(
        self,
        kind: str,
        status: int,
        error: str,
        stages: Mapping[str, float],
        calls: tuple[PipelineCall, ...],
        *,
        busy: bool = False,
    ) -> None:
        total, bits = sum(stages.values()), 7.5 if busy else 3.0
        self._write(
            Record(
                Facts(
                    instruction_type=kind,
                    queued=bool(calls),
                    calls=calls,
                    background_entropy=bits if calls else None,
                    busy_background=busy,
                ),
                "/api/edit",
                status,
                error,
                total,
                stages,
            )
        )

    # ── Measuring ────────────────────────────────────────────────────────────────────────────────

    def _measure(self, at: float, seconds: float, now: Conditions) -> None:
        meter, gpu = self._meter, "0"
        for metric, level in (
            (c.VRAM_USED, self._about(now.vram_used, 0.01)),
            (c.VRAM_RESERVED, self._about(now.vram_reserved, 0.003)),
        ):
            meter.set(metric, "cuda:0", value=level)
        used = min(now.vram_total, now.vram_reserved + 6e8 + now.foreign_bytes)
        util = min(1.0, 0.96 * self._busy + now.foreign_busy)
        for metric, level in (
            (c.GPU_UTILIZATION, min(1.0, self._about(util, 0.05))),
            (c.GPU_MEMORY_USED, self._about(used, 0.003)),
            (c.GPU_MEMORY_TOTAL, now.vram_total),
            (c.GPU_TEMPERATURE, now.celsius + 6 * util + self._random.gauss(0, 1)),
            (c.GPU_POWER, 70 + 200 * util),
        ):
            meter.set(metric, gpu, value=level)
        meter.set(c.GPU_CLOCK, gpu, "sm", value=self._about(now.clock_hertz, 0.01))
        for reason in c.THROTTLE.values or ():
            hit = self._random.random() < now.throttled.get(reason, 0.0)
            meter.set(c.GPU_THROTTLED, gpu, reason, value=float(hit))
        self._beat(seconds, now.blocked)
        for metric, level in (
            (c.HOST_CPU, min(1.0, self._about(now.cpu, 0.08))),
            (c.HOST_MEMORY_USED, self._about(now.host_used, 0.004)),
            (c.HOST_MEMORY_TOTAL, now.host_total),
            (c.WORKERS_READY, float(now.ready)),
        ):
            meter.set(metric, value=level)
        self._grow(c.HOST_DISK_BUSY, "sda", min(1.0, self._about(now.disk_busy, 0.2)) * seconds)
        meter.set(c.HOST_FILESYSTEM_USED, "/", value=self._about(now.filesystem_used, 0.0005))
        meter.set(c.HOST_FILESYSTEM_SIZE, "/", value=now.filesystem_total)
        info = ("a-model", "Pipeline", "Scheduler", now.precision, "cuda:0")
        meter.set(c.SERVICE_INFO, meter.namespace, value=1)
        meter.set(c.MODEL_INFO, *info, c.NO_ADAPTERS, value=1)
        meter.set(c.PROBE_TIMESTAMP, "host", value=at - now.probe_age)
        restarts = self._poisson(now.restarts_per_hour * seconds / 3600)
        meter.add(c.WORKER_RESTARTS, now.restart_reason, amount=restarts)
        meter.add(c.LOG_LINES_LOST, amount=self._poisson(now.log_lost * seconds))

    def _beat(self, seconds: float, blocked: float) -> None:
        """Count the beats of the event loop; each blocking takes about a second."""
        late = self._about(blocked * seconds, 0.1) if blocked else 0.0
        on_time = (seconds - late) / c.LOOP_BEAT_SECONDS
        lag = self._meter.child(c.HTTP_LAG)
        for value, number in ((0.0, on_time), (_BLOCKING_SECONDS, late / _BLOCKING_SECONDS)):
            lag.observe_many(value, round(number))

    def _grow(self, metric: Metric, label: str, by: float) -> None:
        self._totals[metric.name] = self._totals.get(metric.name, 0.0) + by
        self._meter.set_total(metric, label, value=self._totals[metric.name])

    def _process(self, now: Conditions) -> Iterator[Sample]:
        values = {
            "up": 1.0,
            "process_start_time_seconds": self._started,
            "process_resident_memory_bytes": self._about(now.resident, 0.01),
        }
        for name, value in values.items():
            yield "gauge", f"{name}{{{self._target}}}", value

    def _scrape(self) -> Iterator[Sample]:
        """Yield the meter's series with the target's labels."""
        for metric, labels, child in self._meter.children():
            keys = self._keys.get((metric.name, labels))
            if keys is None:
                keys = self._keys[metric.name, labels] = self._series_keys(metric, labels)
            if keys:
                values = current(metric, child)
                for place, key in keys:
                    yield metric.kind.value, key, values[place]

    def _series_keys(self, metric: Metric, labels: tuple[str, ...]) -> list[tuple[int, str]]:
        """Return the kept parts of a series: their places and their text."""
        name = metric.full_name(self._namespace)
        pairs = [f'{key}="{value}"' for key, value in zip(metric.label_names, labels, strict=True)]
        keys = []
        for place, (suffix, edge) in enumerate(parts(metric)):
            inside = ",".join((self._target, *pairs, *([f'le="{edge}"'] if edge else [])))
            if self._keep(name + suffix):
                keys.append((place, f"{name}{suffix}{{{inside}}}"))
        return keys

    # ── Random ───────────────────────────────────────────────────────────────────────────────────

    def _about(self, mean: float, spread: float) -> float:
        """Return a random value with this mean, from a log-normal distribution."""
        return mean * exp(self._random.gauss(0, spread) - spread * spread / 2)

    def _pick(self, weights: Mapping[str, float]) -> str:
        return self._random.choices(tuple(weights), tuple(weights.values()))[0]

    def _poisson(self, mean: float) -> int:
        """Return a Poisson number (Knuth's method; a large mean is halved)."""
        if mean > 30:
            return self._poisson(mean / 2) + self._poisson(mean / 2)
        count, product, limit = 0, self._random.random(), exp(-mean)
        while product > limit:
            count, product = count + 1, product * self._random.random()
        return count
