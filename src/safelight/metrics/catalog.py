"""Every metric: the only place where its name, help, labels, values and buckets are written.

The sum of `lines` over the catalogue is the most that one process can ever expose; a law holds it
to 5 000. Names in `FAMILIES` of a service are prefixed by its namespace when exposed.
"""

from safelight.metrics.metric import OTHER, Family, Kind, Label, Metric
from safelight.reasons import NO_ERROR, REASONS

# The tables keep their own layout.
# fmt: off

# ── Labels ───────────────────────────────────────────────────────────────────────────────────────

NO_INSTRUCTION = "none"

STEP_PLACES = ("1-5", "6-10", "11-20", "21-50", "51+")
STAGES = (
    "receive", "validate", "queue", "transfer", "decode", "encode_prompt", "encode_image",
    "denoise", "decode_latents", "predict", "check", "encode", "respond",
)
IMAGE_SIZES = (
    "64x64", "128x128", "256x256", "384x384", "512x512", "640x640", "768x768", "1024x1024",
    "512x384", "384x512",
    "640x480", "480x640", "768x512", "512x768", "768x576", "576x768", "1024x576", "576x1024",
    "1024x680", "680x1024", "1024x768", "768x1024", "1216x832", "832x1216", "1280x720", "720x1280",
    "1920x1080", "1080x1920", "2048x2048",
)

ENDPOINT = Label("endpoint", "Route template of the request, or `none` for a call outside any.")
STATUS_CODE = Label("status_code", "HTTP status of the answer.")
INSTRUCTION_TYPE = Label(
    "instruction_type",
    "Type of the instruction by the taxonomy; `other` fits no type, `none` was never read.",
)
ERROR = Label("error", "Why the request failed, or `none`.", values=(NO_ERROR, *REASONS, OTHER))
STAGE = Label("stage", "Part of the request's time; the parts leave no remainder.", values=STAGES)
IMAGE_SIZE = Label(
    "image_size", "Width x height of the image made, in pixels.", values=(*IMAGE_SIZES, OTHER)
)
PRECISION = Label(
    "precision",
    "Number format of the denoiser's weights.",
    values=("float32", "float16", "bfloat16", "int8", OTHER),
)
STEP = Label("step", "Place of the denoising step, counted from 1.", values=STEP_PLACES)
GUIDANCE = Label(
    "guidance", "What the caller asked, or what the pipeline applies.", values=("asked", "in_force")
)
PARAMETER = Label(
    "parameter",
    "Parameter that the pipeline silently did not apply.",
    values=("guidance_scale", "image_guidance_scale"),
)
DEVICE = Label("device", "Torch device, such as cuda:0.")
REJECTION = Label(
    "reason",
    "Why a request was refused.",
    values=(
        "queue_full", "too_late", "concurrency", "rate_limited", "shed", "circuit_open",
        "not_ready", "stopping", "unauthorized",
    ),
)
RESTART = Label(
    "reason", "Why a worker was replaced.", values=("died", "hung", "poisoned", "load_failed")
)
STOP = Label(
    "stop_reason",
    "Why the batch was not larger.",
    values=("queue_empty", "cap", "overlap", "deadline", "alone", "memory"),
)
LADDER = ("smaller_batches", "admit_less", "fewer_steps", "smaller_size", "shed_low_priority")
ACTION = Label("action", "What the ladder of degradation did.", values=LADDER)
USE = Label(
    "use",
    "What the device's time went into.",
    values=(
        "useful", "cancelled", "deadline", "invalid", "failed", "retry", "shadow", "canary",
        "padding",
    ),
)
INVALIDITY = Label(
    "reason",
    "What is wrong with the image made.",
    values=("not_finite", "black", "flat", "noise", "wrong_size"),
)
BACKGROUND = Label("background", "Whether its entropy is above the limit.", values=("calm", "busy"))
OUTCOME = Label("outcome", "Whether the request succeeded.", values=("succeeded", "failed"))
ASSESSMENT = Label(
    "outcome",
    "What became of an output that was to be looked at; `dropped` gave way to requests.",
    values=("assessed", "dropped", "failed"),
)

RATING_REASON = Label(
    "reason",
    "Why the caller rated so, or `none`.",
    values=(
        "none", "wrong_edit", "not_followed", "artefacts", "identity_lost", "slow", OTHER,
    ),
)
KEPT = Label("outcome", "What became of the record.", values=("written", "lost", "refused"))

HANDLER = Label("handler", "Route template, or `none` where no route matched.")
METHOD = Label(
    "method",
    "HTTP method.",
    values=(
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", OTHER,
    ),
)
STATUS = Label("status", "HTTP status of the answer.")

GPU = Label("gpu", "Index of the card; `card/instance` for a MIG instance.")
CLOCK = Label("clock", "Which clock of the card.", values=("sm", "memory"))
THROTTLE = Label(
    "reason",
    "Why the card runs below its clock.",
    values=(
        "power_cap", "hardware_slowdown", "software_thermal", "hardware_thermal", "power_brake",
    ),
)
ECC = Label("kind", "Whether the memory error was corrected.", values=("corrected", "uncorrected"))
DISK = Label("disk", "Block device.")
MOUNTPOINT = Label("mountpoint", "Where the file system is mounted.")

PROBE = Label(
    "probe",
    "Which probe.",
    values=(
        "asgi",
        "flask",
        "diffusers",
        "torch",
        "nvml",
        "host",
        "record",
        "governor",
        "entropy",
        "assessment",
    ),
)

CHANNEL = Label(
    "channel", "How the receiver is reached.", values=("dingtalk", "feishu", "wecom", "webhook")
)
DELIVERY = Label(
    "outcome",
    "What became of the notification; all but `delivered` are sent again by Alertmanager.",
    values=("delivered", "refused", "unreachable", "rate_limited"),
)

# ── Buckets: an edge at every threshold that an alert or objective uses ──────────────────────────

_REQUEST = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
_QUEUE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_STAGE = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_STEP = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_HTTP = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 15.0, 30.0, 60.0)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
_RATINGS = (1, 2, 3, 4, 5)
_SCORE = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
_KEPT = (0.25, 0.5, 0.75, 0.9)
_ENTROPY = (1, 2, 3, 4, 5, 6, 6.5, 7, 8, 10)
_STEPS = (1, 2, 4, 8, 10, 15, 20, 25, 30, 50, 75, 100)

# ── Request ──────────────────────────────────────────────────────────────────────────────────────

REQUEST_SECONDS = Metric(
    "request_duration_seconds",
    "From the request's arrival to the last byte of its answer.",
    Kind.HISTOGRAM, Family.REQUEST,
    (ENDPOINT, STATUS_CODE, INSTRUCTION_TYPE), _REQUEST, series=63,
)
REQUESTS = Metric(
    "request_total",
    "Requests answered, with the reason where they failed.",
    Kind.COUNTER, Family.REQUEST,
    (ENDPOINT, STATUS_CODE, INSTRUCTION_TYPE, ERROR), series=240,
)
SUCCESSES = Metric(
    "request_success_total",
    "Requests answered without an error.",
    Kind.COUNTER, Family.REQUEST, (ENDPOINT, INSTRUCTION_TYPE), series=100,
)
QUEUED_SECONDS = Metric(
    "request_queued_duration_seconds",
    "Time that a request waited in the bounded queue.",
    Kind.HISTOGRAM, Family.REQUEST, buckets=_QUEUE,
)
STAGE_SECONDS = Metric(
    "request_stage_duration_seconds",
    "Time of one stage of a request; the stages sum to the whole.",
    Kind.HISTOGRAM, Family.REQUEST, (STAGE,), _STAGE, series=len(STAGES),
)
IN_FLIGHT = Metric(
    "requests_in_flight",
    "Requests to the model that are not answered yet.",
    Kind.GAUGE,
    Family.REQUEST,
)
IMAGES = Metric(
    "request_images_total",
    "Images made, by size.",
    Kind.COUNTER, Family.REQUEST, (IMAGE_SIZE,), series=len(IMAGE_SIZES) + 1,
)

# ── Model ────────────────────────────────────────────────────────────────────────────────────────

INFERENCE_SECONDS = Metric(
    "inference_duration_seconds",
    "Time of one call of the pipeline.",
    Kind.HISTOGRAM, Family.MODEL, (PRECISION,), _REQUEST, series=5,
)
STEP_SECONDS = Metric(
    "step_latency_seconds",
    "Time of one denoising step, on the device that runs it.",
    Kind.HISTOGRAM, Family.MODEL, (STEP,), _STEP, series=len(STEP_PLACES),
)
STEPS = Metric(
    "steps",
    "Denoising steps that a call really made.",
    Kind.HISTOGRAM,
    Family.MODEL,
    buckets=_STEPS,
)
IMAGE_GUIDANCE = Metric(
    "image_guidance_ratio",
    "Image guidance of the last call: as asked, and as in force (1 is no guidance).",
    Kind.GAUGE, Family.MODEL, (GUIDANCE,), series=2,
)
TEXT_GUIDANCE = Metric(
    "text_guidance_ratio",
    "Text guidance of the last call: as asked, and as in force (1 is no guidance).",
    Kind.GAUGE, Family.MODEL, (GUIDANCE,), series=2,
)
GUIDANCE_OVERRIDDEN = Metric(
    "guidance_overridden_total",
    "Calls in which the pipeline silently did not apply a guidance that was asked.",
    Kind.COUNTER, Family.MODEL, (PARAMETER,), series=2,
)
VRAM_USED = Metric(
    "vram_used_bytes",
    "Memory that PyTorch has allocated to tensors (not the card's total use).",
    Kind.GAUGE, Family.MODEL, (DEVICE,), series=16,
)
VRAM_RESERVED = Metric(
    "vram_reserved_bytes",
    "Memory that PyTorch's allocator holds, used or cached.",
    Kind.GAUGE, Family.MODEL, (DEVICE,), series=16,
)
VRAM_PEAK = Metric(
    "vram_peak_bytes",
    "Most memory that PyTorch ever had allocated at once.",
    Kind.GAUGE, Family.MODEL, (DEVICE,), series=16,
)
MODEL_INFO = Metric(
    "model_info",
    "Always 1; its labels say which model is loaded, and how.",
    Kind.GAUGE, Family.MODEL,
    (
        Label("model", "Hub id, folder name or demo."),
        Label("pipeline", "Class of the pipeline."),
        Label("scheduler", "Class of the scheduler."),
        PRECISION,
        DEVICE,
    ), series=4,
)
MODEL_LOAD_SECONDS = Metric(
    "model_load_seconds", "Time that the last load of the model took.", Kind.GAUGE, Family.MODEL
)
MODEL_WARM_UP_SECONDS = Metric(
    "model_warm_up_seconds",
    "Part of the load that went into a first call, which served nobody.",
    Kind.GAUGE, Family.MODEL,
)
MODEL_WEIGHTS = Metric(
    "model_weights_bytes", "Memory that the model's weights take up.", Kind.GAUGE, Family.MODEL
)
WARM_UPS = Metric(
    "warm_up_calls_total",
    "Calls in which torch.compile was at work; they are in no other histogram of the model's time.",
    Kind.COUNTER, Family.MODEL,
)
PROMPTS_TRUNCATED = Metric(
    "prompt_truncated_total",
    "Images made from a prompt that was longer than the text encoder reads.",
    Kind.COUNTER, Family.MODEL,
)

# ── Queue, governance ────────────────────────────────────────────────────────────────────────────

QUEUE_DEPTH = Metric(
    "queue_depth", "Requests that wait for the model.", Kind.GAUGE, Family.QUEUE
)
QUEUED_WORK = Metric(
    "queued_work_seconds",
    "Predicted time until all that waits or runs now is done.",
    Kind.GAUGE, Family.QUEUE,
)
REQUEST_TIMEOUT = Metric(
    "request_timeout_seconds",
    "Time from arrival after which a request fails, unless its caller asked for another.",
    Kind.GAUGE, Family.QUEUE,
)
BATCH_SIZE = Metric(
    "batch_size",
    "Requests that one call of the model served.",
    Kind.HISTOGRAM, Family.QUEUE, (STOP,), _BATCH, series=len(STOP.values or ()),
)
BATCH_LIMIT = Metric(
    "batch_size_limit",
    "Largest batch that still gains, as learned for the last batch's kind of request.",
    Kind.GAUGE, Family.QUEUE,
)
BATCH_SPEEDUP = Metric(
    "batch_speedup_ratio",
    "Images a second at that limit, against one at a time.",
    Kind.GAUGE, Family.QUEUE,
)
REJECTED = Metric(
    "rejected_total",
    "Requests refused before they cost the model anything.",
    Kind.COUNTER, Family.GOVERNANCE, (REJECTION,), series=len(REJECTION.values or ()),
)
WORKERS_READY = Metric(
    "workers_ready", "Worker processes with the model loaded.", Kind.GAUGE, Family.GOVERNANCE
)
WORKER_RESTARTS = Metric(
    "worker_restarts_total",
    "Worker processes replaced.",
    Kind.COUNTER, Family.GOVERNANCE, (RESTART,), series=len(RESTART.values or ()),
)
DEGRADATION_LEVEL = Metric(
    "degradation_level",
    "Rungs of the ladder in force; 0 is full service.",
    Kind.GAUGE,
    Family.GOVERNANCE,
)
DEGRADED = Metric(
    "degraded_total",
    "Requests that the ladder changed or refused.",
    Kind.COUNTER, Family.GOVERNANCE, (ACTION,), series=len(ACTION.values or ()),
)
CIRCUIT_OPEN = Metric(
    "circuit_open",
    "1 while the model is left alone after failures, 0.5 while one request tries it.",
    Kind.GAUGE, Family.GOVERNANCE,
)
DEVICE_SECONDS = Metric(
    "device_seconds_total",
    "Time of the devices, by what came of it.",
    Kind.COUNTER, Family.GOVERNANCE, (USE,), series=len(USE.values or ()),
)
OUTPUT_INVALID = Metric(
    "output_invalid_total",
    "Images made that were not fit to be sent.",
    Kind.COUNTER, Family.QUALITY, (INVALIDITY,), series=len(INVALIDITY.values or ()),
)

USER_RATING = Metric(
    "user_rating",
    "First rating that a caller gave an answer, 1 (bad) to 5 (good).",
    Kind.HISTOGRAM, Family.QUALITY, (INSTRUCTION_TYPE,), _RATINGS, series=20,
)
USER_RATINGS = Metric(
    "user_ratings_total",
    "First ratings that callers gave, by their reason.",
    Kind.COUNTER, Family.QUALITY, (RATING_REASON,), series=len(RATING_REASON.values or ()),
)
RATINGS_CHANGED = Metric(
    "user_ratings_changed_total",
    "Ratings that replaced an earlier one; the records hold the last.",
    Kind.COUNTER, Family.QUALITY,
)
QUALITY_SCORE = Metric(
    "image_quality_score",
    "Looks of the outputs that were looked at closer, 0 to 1; their spread is (in)stability.",
    Kind.HISTOGRAM, Family.QUALITY, (INSTRUCTION_TYPE,), _SCORE, series=20,
)
STRUCTURE = Metric(
    "structure_similarity_ratio",
    "Structural similarity of input and output, of the edits that were looked at closer.",
    Kind.HISTOGRAM, Family.QUALITY, (INSTRUCTION_TYPE,), _KEPT, series=20,
)
ADHERENCE = Metric(
    "prompt_adherence_ratio",
    "How well outputs fit what was asked, by CLIP or, of a demo, by its tagger.",
    Kind.SUMMARY, Family.QUALITY, (INSTRUCTION_TYPE,), series=20,
)
BACKGROUND_ENTROPY = Metric(
    "background_entropy",
    "Entropy, in bits (0 to 12), of the colours around the middle of the pictures sent in.",
    Kind.HISTOGRAM, Family.QUALITY, buckets=_ENTROPY,
)
BACKGROUNDS = Metric(
    "edits_by_background_total",
    "Requests to edit a picture, by its background and their outcome; busy ones were advised.",
    Kind.COUNTER, Family.QUALITY, (BACKGROUND, OUTCOME), series=4,
)
ASSESSMENTS = Metric(
    "quality_assessments_total",
    "Outputs that were to be looked at closer once they were sent.",
    Kind.COUNTER, Family.QUALITY, (ASSESSMENT,), series=len(ASSESSMENT.values or ()),
)
ASSESSMENT_SECONDS = Metric(
    "quality_assessment_seconds",
    "Time that it took to look at an output closer.",
    Kind.SUMMARY, Family.QUALITY,
)

# ── HTTP: the names known from prometheus-fastapi-instrumentator ─────────────────────────────────

HTTP_REQUESTS = Metric(
    "http_requests_total", "HTTP requests answered.",
    Kind.COUNTER, Family.HTTP, (HANDLER, METHOD, STATUS), series=200,
)
HTTP_SECONDS = Metric(
    "http_request_duration_seconds",
    "From the request's arrival to the last byte of its answer.",
    Kind.HISTOGRAM, Family.HTTP, (HANDLER, METHOD), _HTTP, series=60,
)
HTTP_REQUEST_BYTES = Metric(
    "http_request_size_bytes", "Body bytes that the application read.",
    Kind.SUMMARY, Family.HTTP, (HANDLER,), series=40,
)
HTTP_RESPONSE_BYTES = Metric(
    "http_response_size_bytes", "Body bytes sent, streamed ones too.",
    Kind.SUMMARY, Family.HTTP, (HANDLER,), series=40,
)
HTTP_IN_PROGRESS = Metric(
    "http_requests_inprogress", "HTTP requests not answered yet.", Kind.GAUGE, Family.HTTP
)

# ── The card ─────────────────────────────────────────────────────────────────────────────────────


def _gpu(
    name: str, help_text: str, kind: Kind = Kind.GAUGE, *labels: Label, each: int = 1
) -> Metric:
    return Metric(name, help_text, kind, Family.GPU, (GPU, *labels), series=16 * each)


GPU_UTILIZATION = _gpu("gpu_utilization_ratio", "Share of time in which a kernel ran on the card.")
GPU_MEMORY_BUSY = _gpu(
    "gpu_memory_busy_ratio", "Share of time in which the card's memory was read or written."
)
GPU_MEMORY_USED = _gpu("gpu_memory_used_bytes", "Memory in use on the card, by all processes.")
GPU_MEMORY_TOTAL = _gpu("gpu_memory_total_bytes", "Memory of the card.")
GPU_TEMPERATURE = _gpu("gpu_temperature_celsius", "Temperature of the card.")
GPU_POWER = _gpu("gpu_power_watts", "Power that the card draws.")
GPU_POWER_LIMIT = _gpu("gpu_power_limit_watts", "Power that the card may draw.")
GPU_ENERGY = _gpu(
    "gpu_energy_joules_total", "Energy the card has used since its driver loaded.", Kind.COUNTER
)
GPU_CLOCK = _gpu("gpu_clock_hertz", "Clock of the card.", Kind.GAUGE, CLOCK, each=2)
GPU_THROTTLED = _gpu(
    "gpu_throttled",
    "1 while the card runs below its clock for this reason.",
    Kind.GAUGE,
    THROTTLE,
    each=5,
)
GPU_ECC_ERRORS = _gpu(
    "gpu_ecc_errors_total", "Memory errors since the driver loaded.", Kind.COUNTER, ECC, each=2
)
GPU_INFO = _gpu(
    "gpu_info", "Always 1; its labels name the card.", Kind.GAUGE,
    Label("uuid", "The card's UUID."), Label("name", "The card's product name."),
    Label("driver", "The driver's version."),
)

# ── The machine ──────────────────────────────────────────────────────────────────────────────────


def _host(name: str, help_text: str, kind: Kind = Kind.GAUGE, *labels: Label) -> Metric:
    return Metric(name, help_text, kind, Family.HOST, labels, series=16 if labels else 1)


HOST_CPU = _host(
    "host_cpu_utilization_ratio", "Share of all cores' time in use since the last reading."
)
HOST_MEMORY_USED = _host("host_memory_used_bytes", "Memory that cannot be given to a program now.")
HOST_MEMORY_TOTAL = _host("host_memory_total_bytes", "Memory of the machine.")
HOST_DISK_READ = _host(
    "host_disk_read_bytes_total", "Bytes read from the disk.", Kind.COUNTER, DISK
)
HOST_DISK_WRITTEN = _host(
    "host_disk_written_bytes_total", "Bytes written to the disk.", Kind.COUNTER, DISK
)
HOST_DISK_BUSY = _host(
    "host_disk_busy_seconds_total", "Time in which the disk was at work.", Kind.COUNTER, DISK
)
HOST_FILESYSTEM_USED = _host(
    "host_filesystem_used_bytes", "Bytes used on the file system.", Kind.GAUGE, MOUNTPOINT
)
HOST_FILESYSTEM_SIZE = _host(
    "host_filesystem_size_bytes", "Size of the file system.", Kind.GAUGE, MOUNTPOINT
)
HOST_RECEIVED = _host(
    "host_network_received_bytes_total", "Bytes received from the network.", Kind.COUNTER
)
HOST_SENT = _host("host_network_sent_bytes_total", "Bytes sent to the network.", Kind.COUNTER)

# ── The watcher itself ───────────────────────────────────────────────────────────────────────────


def _own(name: str, help_text: str, kind: Kind, *labels: Label, series: int = 1) -> Metric:
    return Metric(name, help_text, kind, Family.SAFELIGHT, labels, series=series)


BUILD_INFO = _own(
    "safelight_build_info", "Always 1; its labels say what runs.", Kind.GAUGE,
    Label("version", "Version of Safelight."), Label("python", "Version of Python."),
)
PROBE_FAILURES = _own(
    "safelight_probe_failures_total", "Times a probe failed; the request went on.",
    Kind.COUNTER, PROBE,
    series=len(PROBE.values or ()),
)
PROBE_SECONDS = _own(
    "safelight_probe_seconds_total", "Time that the sampling probes have used.",
    Kind.COUNTER, PROBE,
    series=len(PROBE.values or ()),
)
PROBE_TIMESTAMP = _own(
    "safelight_probe_last_success_timestamp_seconds", "When the probe last read its source.",
    Kind.GAUGE, PROBE,
    series=len(PROBE.values or ()),
)
LOG_LINES_LOST = _own(
    "safelight_log_lines_lost_total",
    "Log lines that could not be written: a full disk, a closed pipe.",
    Kind.COUNTER,
)
RECORDS = _own(
    "safelight_records_total",
    "Entries for the database of records: requests, assessments and ratings.",
    Kind.COUNTER, KEPT,
    series=len(KEPT.values or ()),
)
RECORDS_WAITING = _own(
    "safelight_records_waiting", "Entries that wait to be written to the database.", Kind.GAUGE
)
SERIES_FOLDED = _own(
    "safelight_series_folded_total",
    "Events entered as `other`, because their metric shows enough series already.",
    Kind.COUNTER, Label("metric", "The metric's name without its namespace."), series=30,
)
EXPOSITION_SECONDS = _own(
    "safelight_exposition_seconds",
    "Time that the last answer to a scrape took to write.",
    Kind.GAUGE,
)
EXPOSITION_LINES = _own(
    "safelight_exposition_lines", "Lines of the last answer to a scrape.", Kind.GAUGE
)
NOTIFICATIONS = _own(
    "safelight_notifications_total", "Notifications that the alert relay was given.",
    Kind.COUNTER, CHANNEL, DELIVERY,
    series=len(CHANNEL.values or ()) * len(DELIVERY.values or ()),
)
NOTIFICATION_SECONDS = _own(
    "safelight_notification_seconds", "Time that the last notification took, tries and all.",
    Kind.GAUGE, CHANNEL,
    series=len(CHANNEL.values or ()),
)

CATALOG: tuple[Metric, ...] = tuple(
    value for value in list(vars().values()) if isinstance(value, Metric)
)


def step_place(step: int) -> str:
    """Return the place of a denoising step, counted from 1 (P5: 1-5, 6-10, 11-20, 21-50, 51+)."""
    return STEP_PLACES[(step > 5) + (step > 10) + (step > 20) + (step > 50)]


def image_size(width: int, height: int) -> str:
    """Return the size's label value: `1024x768`, or `other` for a size outside the closed set."""
    size = f"{width}x{height}"
    return size if size in IMAGE_SIZES else OTHER
