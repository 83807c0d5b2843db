"""The canary of one worker: enrol its model, then check it again and again."""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter

import structlog

from safelight.errors import Cancelled, InvalidOutput, SafelightError, WorkerLost
from safelight.guard.golden import ENROL_RUNS, Golden, Print, Run, difference, enrol, told_apart
from safelight.guard.turns import Turns
from safelight.guard.verdicts import Deep, Health, State, step_limit
from safelight.models.backend import ModelInfo
from safelight.serving.canary.enrolments import Enrolment, Enrolments, key_of
from safelight.serving.canary.inputs import GoldenInput, golden_inputs
from safelight.serving.canary.prints import print_of
from safelight.serving.canary.runs import OVERTAKEN, REFUSED, Engine, Learning, Seen, failure
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.worker_handle import COMPILING_FACTOR, WorkerHandle
from safelight.serving.job import PROBE, Job, Outcome
from safelight.settings import Settings
from safelight.telemetry.record import Exchange, new_id
from safelight.telemetry.timeline import Timeline

_SHALLOW_SECONDS, _ANSWER_SECONDS = 5.0, 3.0
_STALE = "it gives the output of another input"
log = structlog.get_logger("safelight")


class Check:
    """Checks one worker. `tell` gets each run; `clock` is in seconds and never goes back."""

    def __init__(
        self,
        worker: WorkerHandle,
        engine: Engine,
        pool: Pool,
        settings: Settings,
        *,
        tell: Callable[["Check", Seen], None] = lambda _check, _seen: None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.worker = worker
        self.health = Health()
        self.enrolment: Enrolment | None = None
        self.last: Seen | None = None
        self.was_replaced = False
        self._engine = engine
        self._pool = pool
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._enrolments = Enrolments(settings.state_folder)
        self._turns = Turns(settings.canary_seconds, settings.canary_ratio)
        self._inputs: Sequence[GoldenInput] = ()
        self._place = 0
        self._learning: Learning | None = None
        self._info: ModelInfo | None = None
        self._pinged_at = float("-inf")
        self._wanted = 0
        self._refused = False  # the model does not run the golden input, so it is not enrolled

    @property
    def enrolled_runs(self) -> int | None:
        """Return how many runs of an enrolment are done; None if none is in progress."""
        return None if self._learning is None else self._learning.number()

    @property
    def hurries(self) -> bool:
        """Return whether the next run should follow at once."""
        return self.worker.ready and self.worker.is_idle and (self._learns or self._wanted > 0)

    @property
    def _learns(self) -> bool:
        """Return whether an enrolment goes on; one that fails has the pace of other runs."""
        goes_on = self._learning is not None and not self._refused
        return goes_on and not self.health.broken and self._settings.canary_ratio > 0

    def want(self, *, enrolling: bool = False) -> None:
        """Ask for a run of each input now, or for a new enrolment."""
        if enrolling:
            self._learning, self.enrolment = Learning(), None
            self.health, self._refused = Health(), False
        else:
            self._wanted = len(self._inputs) or 1

    @property
    def is_asked(self) -> bool:
        """Return whether something that was asked for is still to be done."""
        return self._wanted > 0 or self._learning is not None

    async def step(self) -> None:
        """Do what is due, unless requests need the worker."""
        if not self.worker.ready or self.worker.info is None:
            return
        if self._info is not self.worker.info:
            self._loaded(self.worker.info)
        if not self.worker.is_idle:
            return
        if self._clock() - self._pinged_at >= _SHALLOW_SECONDS:
            await self._ask()
        if self._learns or self._due():
            await self._run()

    def _loaded(self, info: ModelInfo) -> None:
        """Find the golden outputs of a model that was just loaded."""
        self._inputs = golden_inputs(self._pool.served, self._settings)
        self._info = info
        self.health.forget()
        self._refused = False
        self.enrolment = self._enrolments.read(self._key(), [each.name for each in self._inputs])
        self._learning = None if self.enrolment else Learning()
        self._wanted = len(self._inputs)
        self._compare_enrolments(info)

    def _compare_enrolments(self, info: ModelInfo) -> None:
        """Log why the golden outputs on disk may not be those of this model."""
        if self.enrolment and self.enrolment.fingerprint != info.fingerprint:
            log.warning("the model's weights are not those that were enrolled", **self._where())
        others = [] if self.enrolment else self._enrolments.others(self._key())
        if others:
            where = {**self._where(), "safelight.reason": "; ".join(others)[:400]}
            log.info("golden outputs do not fit, the model is enrolled again", **where)

    def _key(self) -> dict[str, str]:
        assert self._info is not None
        first = self._inputs[0]
        return key_of(self._info, self._settings, first.size[0], first.steps)

    def _where(self) -> dict[str, object]:
        return {"safelight.worker": self.worker.place.index}

    def _due(self) -> bool:
        soon = self.health.suspect or self._wanted > 0
        golden = self._golden()
        cost = 0.0 if golden is None else golden.seconds
        return self._turns.due(self._clock(), cost, soon=soon)

    def _golden(self) -> Golden | None:
        """Return the golden of the next input."""
        return self.enrolment.goldens.get(self._input().name) if self.enrolment else None

    def _input(self) -> GoldenInput:
        return self._inputs[self._place % len(self._inputs)]

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self) -> None:
        """Make a shallow run."""
        self._pinged_at = self._clock()
        in_time = await self.worker.answers(_ANSWER_SECONDS)
        if not self.worker.ready:
            return  # it ended meanwhile, and is replaced
        self.health.answered(in_time=in_time)
        self._note(Seen("shallow", State.GOOD if in_time else State.DEAD))

    async def _run(self) -> None:
        """Make a deep run with the next input."""
        golden, job = self._golden(), self._job()
        task = asyncio.ensure_future(self._engine.probe(self.worker, job))
        try:
            hung = await self._wait(task, job, golden)
        finally:
            task.cancel()
        spent = job.progress.device_seconds
        if hung:
            return  # counted already; what it answers after that does not count
        try:
            output = print_of(task.result())
        except (Cancelled, WorkerLost) as error:
            if isinstance(error, WorkerLost) and not self._pool.is_stopping:
                self._judge(Deep(State.DEAD, "the worker was lost"), spent)
                return
            self._turns.spend(self._clock(), spent, ran=False)
            self._note(Seen("deep", OVERTAKEN))
            return
        except SafelightError as error:
            self._failed(error, spent)
            return
        self._place += 1
        if self._learning is not None:
            self._learn(self._learning, Run(output, spent))
        elif golden is not None:
            self._compare(golden, Run(output, spent))

    def _failed(self, error: SafelightError, spent: float) -> None:
        """Judge a run that failed. Without golden outputs, only an invalid image is a fault."""
        if self.enrolment is None and not isinstance(error, InvalidOutput):
            self.health.refused(f"it does not run the golden input: {error.reason}")
            self._refused = True
            self._done(spent)
            self._note(Seen("deep", REFUSED))
            return
        self._judge(failure(error), spent)

    async def _wait(self, task: "asyncio.Task[Outcome]", job: Job, golden: Golden | None) -> bool:
        """Wait for a run. Return whether it made no step for too long."""
        limit, hung = self._settings.hang_seconds, False
        if self._settings.compile:
            limit *= COMPILING_FACTOR
        elif golden is not None:
            limit = min(limit, step_limit(golden.seconds, job.steps))
        while not task.done():
            step = job.progress.step
            await asyncio.wait([task], timeout=limit)
            if not task.done() and job.progress.step == step and not hung:
                hung = True
                self._judge(Deep(State.HUNG, f"no step within {limit:.1f} s"), 0.0)
        return hung

    def _job(self) -> Job:
        golden = self._input()
        exchange = Exchange(Timeline(perf_counter()))
        now = asyncio.get_running_loop().time()
        return Job(
            new_id(),
            golden.image,
            golden.size,
            golden.parameters,
            golden.seed,
            now + self._settings.request_timeout_limit_seconds,
            exchange,
            priority="low",
            alone=True,
            use=PROBE,
        )

    def _learn(self, learning: Learning, run: Run) -> None:
        """Add a run to the enrolment, and end it when there are enough."""
        name = self._inputs[(self._place - 1) % len(self._inputs)].name
        learning.runs.setdefault(name, []).append(run)
        self._note(Seen("deep", State.GOOD, run.seconds))
        if learning.number() < ENROL_RUNS * len(self._inputs):
            return
        self._learning = None
        goldens = told_apart({name: enrol(runs) for name, runs in learning.runs.items()})
        assert self._info is not None
        made = self._enrolments.write(self._key(), self._info.fingerprint, goldens)
        self.enrolment = Enrolment(self._info.fingerprint, made, goldens)
        log.info("golden outputs enrolled", **self._where())
        self._judge(Deep(State.GOOD), 0.0, 0.0)

    def _compare(self, golden: Golden, run: Run) -> None:
        """Judge a run by its golden."""
        drift = golden.drift(run.output)
        if drift > 1:
            stale = self._is_of_other_input(run.output)
            why = _STALE if stale else self._difference()
            self._judge(Deep(State.WRONG, why, stale), run.seconds, drift)
        elif run.seconds > golden.slow_seconds:
            why = f"{run.seconds:.3f} s instead of {golden.seconds:.3f} s"
            self._judge(Deep(State.SLOW, why), run.seconds, drift)
        else:
            self._judge(Deep(State.GOOD), run.seconds, drift)

    def _is_of_other_input(self, output: Print) -> bool:
        """Return whether this is exactly the output of another input: no noise does that."""
        assert self.enrolment is not None
        name = self._inputs[(self._place - 1) % len(self._inputs)].name
        others = (golden for other, golden in self.enrolment.goldens.items() if other != name)
        return any(difference(other.output, output) == 0 for other in others)

    def _difference(self) -> str:
        """Say what a wrong output may come from."""
        assert self.enrolment is not None
        assert self._info is not None
        if self.enrolment.fingerprint != self._info.fingerprint:
            return f"its weights are not those that were enrolled at {self.enrolment.enrolled_at}"
        return "its output differs from the enrolled one"

    def _judge(self, run: Deep, seconds: float, drift: float | None = None) -> None:
        """Add a deep run to the model's health."""
        before = self.health.verdict
        self.health.ran(run)
        self._done(seconds)
        self._note(Seen("deep", run.state, seconds or None, drift))
        if self.health.verdict is not before:
            self._log(before)

    def _done(self, seconds: float) -> None:
        """Count a run that came to an end."""
        self._wanted = max(0, self._wanted - 1)
        self._turns.spend(self._clock(), seconds, ran=True)

    def _log(self, before: State) -> None:
        fields = {
            **self._where(),
            "safelight.canary.before": before,
            "safelight.canary.verdict": self.health.verdict,
            "safelight.canary.why": self.health.reason,
        }
        write = log.error if self.health.broken else log.info
        write("canary verdict changed", **fields)

    def _note(self, seen: Seen) -> None:
        if seen.depth == "deep" and seen.verdict != OVERTAKEN:
            self.last = seen
        self._tell(self, seen)
