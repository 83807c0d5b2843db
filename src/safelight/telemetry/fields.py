"""The table of every field that a log line may have: name, type, meaning and example.

The documentation, the checks of the tests and the template for Elasticsearch are made from it. A
field outside the table becomes one of `labels`, as text.
"""

from dataclasses import dataclass
from typing import Literal

from safelight.metrics.catalog import STAGES

ECS_VERSION = "9.4.0"
DATASET = "safelight"
OWN = "safelight."  # the names that ECS does not define begin with it
LABELS = "labels"

Type = Literal[
    "date",
    "keyword",
    "wildcard",
    "match_only_text",
    "long",
    "double",
    "boolean",
    "object",
    "flattened",
]  # of Elasticsearch


@dataclass(frozen=True, slots=True)
class Field:
    """A field. If it is `listed`, a line has a list of such values."""

    name: str
    type: Type
    meaning: str
    example: object
    listed: bool = False

    @property
    def is_own(self) -> bool:
        """Return whether the field is Safelight's, and not one of ECS."""
        return self.name.startswith(OWN)


_LINE = (
    Field("@timestamp", "date", "When it happened, in UTC.", "2026-12-01T12:00:00.250Z"),
    Field("message", "match_only_text", "What happened; `request` for a request.", "request"),
    Field("log.level", "keyword", "Severity of the line.", "warning"),
    Field("log.logger", "keyword", "Who wrote it: Safelight or a library.", "safelight"),
    Field("ecs.version", "keyword", "Version of the Elastic Common Schema.", ECS_VERSION),
    Field("service.name", "keyword", "Namespace of the service.", "instructpix2pix"),
    Field("service.version", "keyword", "Version of Safelight.", "0.1.0"),
    Field("process.pid", "long", "Process that wrote the line.", 4711),
    Field("process.thread.name", "keyword", "Thread that failed.", "recorder"),
    Field(LABELS, "object", "Fields of other code, as text.", {"shard": "3"}),
)
_EVENT = (
    Field("event.kind", "keyword", "Always `event`.", "event"),
    Field("event.dataset", "keyword", "Name of the data stream's data set.", DATASET),
    Field("event.category", "keyword", "What the event is about.", ["web"], listed=True),
    Field("event.type", "keyword", "What kind of event it is.", ["access"], listed=True),
    Field("event.action", "keyword", "Name of the event.", "worker-lost"),
    Field("event.outcome", "keyword", "`success` or `failure`.", "success"),
    Field("event.duration", "long", "How long it took, in nanoseconds.", 2_000_000_000),
    Field("error.type", "keyword", "Reason of a failure, or class of an exception.", "cuda_oom"),
    Field("error.message", "match_only_text", "What failed.", "No space left on device"),
    Field("error.stack_trace", "wildcard", "Where an exception was raised.", "Traceback …"),
)
_REQUEST = (
    Field("http.request.id", "keyword", "Id that the server gave to the request.", "5c1f…"),
    Field("http.response.status_code", "long", "Status of the response.", 200),
    Field("url.path", "wildcard", "Route of the request.", "/api/edit"),
    Field("trace.id", "keyword", "Trace of the request.", "0af7651916cd43dd8448eb211c80319c"),
    Field("span.id", "keyword", "Span of the request in it.", "b7ad6b7169203331"),
    Field(
        "safelight.caller_request_id",
        "keyword",
        "UUID that the caller sent.",
        "9f1c2d3e4b5a69788796a5b4c3d2e1f0",
    ),
    Field("safelight.instruction_type", "keyword", "Type of the instruction.", "make_him_old"),
    Field("safelight.seed", "long", "Seed of the noise.", 42),
    Field(
        "safelight.background_entropy", "double", "Entropy of the image's background, in bits.", 7.1
    ),
)
_MODEL = (
    Field("safelight.model.model", "keyword", "Name of the model.", "timbrooks/instruct-pix2pix"),
    Field("safelight.model.pipeline", "keyword", "Class of the model.", "ZImagePipeline"),
    Field("safelight.model.scheduler", "keyword", "Class of the scheduler.", "EulerDiscrete"),
    Field("safelight.model.precision", "keyword", "Type of the numbers.", "float16"),
    Field("safelight.model.device", "keyword", "Where the model runs.", "cuda:0"),
    Field("safelight.model.side", "long", "Best longest side, in pixels.", 512),
    Field("safelight.model.multiple", "long", "Sides are multiples of it, in pixels.", 8),
    Field("safelight.model.defaults", "flattened", "Parameters that it uses.", {"steps": 20}),
    Field("safelight.model.weights_bytes", "long", "Size of the weights.", 4_000_000_000),
    Field("safelight.model.warm_up_seconds", "double", "Time of the first call.", 3.5),
    Field("safelight.model.fingerprint", "keyword", "Hash of its weights.", "0f3a"),
    Field("safelight.model.device_name", "keyword", "Name of its device.", "NVIDIA H200"),
    Field("safelight.model.torch", "keyword", "Version of torch.", "2.13.0"),
    Field("safelight.canary.before", "keyword", "State of the model before.", "good"),
    Field("safelight.canary.verdict", "keyword", "State of the model now.", "wrong"),
    Field(
        "safelight.canary.why",
        "match_only_text",
        "Why.",
        "its output differs from the enrolled one",
    ),
    Field("safelight.model.batch", "long", "Images in the last call.", 4),
    Field("safelight.model.steps_asked", "long", "Steps that the call asked for.", 20),
    Field("safelight.model.steps", "long", "Steps that the call did.", 20),
    Field("safelight.model.guidance_asked", "double", "Guidance that was asked for.", 7.5),
    Field("safelight.model.guidance_in_force", "double", "Guidance that was used.", 7.5),
    Field("safelight.model.image_guidance_asked", "double", "The same of the image.", 1.5),
    Field("safelight.model.image_guidance_in_force", "double", "The same of the image.", 1.5),
    Field("safelight.model.negative_prompt", "boolean", "Whether there was one.", example=False),
    Field("safelight.model.images", "keyword", "Sizes of the images.", ["1024x768"], listed=True),
)
_SERVICE = (
    Field("url.full", "wildcard", "Address of this service or of an instance.", "http://[::1]:80"),
    Field("file.path", "keyword", "File of the operator that was read.", "/etc/safelight/tls.pem"),
    Field("safelight.reason", "keyword", "Why it happened.", "hung"),
    Field("safelight.setting", "keyword", "Setting with the limit.", "SAFELIGHT_HEADER_LIMIT"),
    Field("safelight.worker", "long", "Number of the worker.", 0),
    Field("user.name", "keyword", "API key of the operator who acted.", "anna"),
    Field("safelight.action", "keyword", "What the operator did.", "drain"),
    Field("safelight.decision", "keyword", "Decision on a rollout.", "promote"),
    Field("safelight.percent", "long", "Callers of the second model, in percent.", 25),
    Field("safelight.pause_seconds", "double", "Time until a worker starts again.", 2.0),
    Field("safelight.degradation_level", "long", "How many rungs are active.", 2),
    Field("safelight.failures", "long", "Failures of the model in a row.", 5),
    Field("safelight.held_bytes", "long", "Device memory that is held.", 9_000_000_000),
    Field("safelight.held_at_first_bytes", "long", "The same after the start.", 4_000_000_000),
    Field("safelight.connections", "long", "Connections that are open.", 512),
    Field("safelight.keys", "long", "API keys that are valid.", 3),
    Field("safelight.records", "long", "Records that were lost.", 12),
    Field("safelight.requests", "long", "Requests that were not logged.", 480),
    Field("safelight.line", "keyword", "Message of lines that were left out.", "worker lost"),
    Field("safelight.lines", "long", "Lines that were left out, or lost.", 980),
    Field("safelight.receiver", "keyword", "Receiver of an alert.", "team"),
    Field("safelight.channel", "keyword", "Kind of the receiver.", "slack"),
)
_STAGES = tuple(
    Field(f"safelight.stages_ns.{stage}", "long", f"Time of `{stage}`, in nanoseconds.", 300_000)
    for stage in STAGES
)

FIELDS: dict[str, tuple[Field, ...]] = {
    "Every line": _LINE,
    "Events and errors": _EVENT,
    "Requests": _REQUEST,
    "Stages of a request": _STAGES,
    "The model": _MODEL,
    "The service": _SERVICE,
}
BY_NAME = {field.name: field for fields in FIELDS.values() for field in fields}
_OBJECTS = {name.rpartition(".")[0] for name in BY_NAME if name.rpartition(".")[0] not in BY_NAME}


def is_known(name: str) -> bool:
    """Return whether the table has a field of this name, or fields below it."""
    return name in BY_NAME or (name.startswith(OWN) and name in _OBJECTS)
