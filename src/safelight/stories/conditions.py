"""Conditions of a simulated service at one time: traffic, speed, faults and resources."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from safelight.metrics.buckets import step_place

TYPES = {"make_him_old": 0.4, "add_sunglasses": 0.3, "change_background": 0.2, "other": 0.1}
STAGES = {
    "receive": 0.02,
    "validate": 0.002,
    "transfer": 0.003,
    "decode": 0.012,
    "encode_prompt": 0.01,
    "encode_image": 0.02,
    "decode_latents": 0.03,
    "check": 0.003,
    "encode": 0.015,
    "respond": 0.004,
}
MODEL = ("encode_prompt", "encode_image", "decode_latents")  # stages of the pipeline


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of one instance at one time. Times are in seconds, memory is in bytes."""

    rate: float = 0.8
    types: Mapping[str, float] = field(default_factory=lambda: TYPES)
    sizes: Mapping[str, float] = field(default_factory=lambda: {"512x512": 1.0})
    stages: Mapping[str, float] = field(default_factory=lambda: STAGES)
    steps: int = 20
    step_seconds: float = 0.025
    places: Mapping[str, float] = field(default_factory=dict)
    """Factor on the time of the steps at a place."""
    noise: float = 0.2
    batch_limit: int = 8
    speedup: float | None = None
    held: float = 0.0
    """Time that a request waits although the device is free."""
    circuit: float = 0.0
    """Share of requests that the open circuit refuses."""
    canary: str = "good"
    """What the canary knows of the model: a value of catalog.MODEL_STATE."""
    drift: float = 0.1
    """Difference of its golden outputs, as a share of the limit."""
    queue_limit: int = 64
    failures: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """By type, or `*`: the reason, and the share of requests that fail with it."""
    invalid: float = 0.0
    busy: float = 0.2
    """Share of the edits whose image has a busy background."""
    corrupted: float = 0.01
    """Share of destroyed results among edits with a calm background."""
    corrupted_busy: float = 0.02
    """Share of destroyed results among edits with a busy background."""
    score: float = 0.78
    scored: float = 0.2
    precision: str = "float16"
    overridden: float = 0.0
    compiled: float = 0.0
    restarts_per_hour: float = 0.0
    restart_reason: str = "died"
    ready: int = 1
    vram_used: float = 4.2e9
    vram_reserved: float = 5.4e9
    vram_total: float = 16e9
    foreign_bytes: float = 0.0
    foreign_busy: float = 0.0
    celsius: float = 62.0
    clock_hertz: float = 1.7e9
    throttled: Mapping[str, float] = field(default_factory=dict)
    blocked: float = 0.0
    """Share of the time in which handlers block the event loop."""
    cpu: float = 0.35
    host_used: float = 12e9
    host_total: float = 32e9
    disk_busy: float = 0.05
    filesystem_used: float = 80e9
    filesystem_total: float = 200e9
    resident: float = 1.1e8
    probe_age: float = 5.0
    log_lost: float = 0.0
    up: bool = True
    starts: bool = False
    """True if the process restarts in this step, so its counters start at 0."""

    @property
    def call_seconds(self) -> float:
        """Return the time of one call for a single image."""
        return self.denoise_seconds + sum(self.stages[stage] for stage in MODEL)

    @property
    def denoise_seconds(self) -> float:
        """Return the time of all steps of one call."""
        return sum(self.step(number) for number in range(1, self.steps + 1))

    def step(self, number: int) -> float:
        """Return the mean time of one step, counted from 1."""
        return self.step_seconds * self.places.get(step_place(number), 1.0)


Timeline = Callable[[int, float], Conditions]  # of an instance, at a time
