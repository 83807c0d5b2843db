"""Catalogue of all metrics: names, help texts, labels and label values.

The sum of `lines` over the catalogue is the maximum that one process exposes. A test keeps it below
5 000. Metrics of the families in `NAMESPACED` are exposed with the service's namespace in front.
"""

from safelight.metrics import buckets
from safelight.metrics.metric import OTHER, Across, Family, Kind, Label, Metric, of_machine
from safelight.reasons import NO_ERROR, REASONS

# fmt: off

# ── Labels ───────────────────────────────────────────────────────────────────────────────────────

LOOP_BEAT_SECONDS = 0.1  # the timer of HTTP_LAG
NO_INSTRUCTION = "none"
NO_ADAPTERS = "none"

STAGES = (
    "receive", "validate", "queue", "transfer", "decode", "encode_prompt", "encode_image",
    "denoise", "decode_latents", "predict", "check", "encode", "respond",
)

ENDPOINT = Label("endpoint", "Route template of the request, or `none` outside a request.")
STATUS_CODE = Label("status_code", "HTTP status of the response.")
INSTRUCTION_TYPE = Label(
    "instruction_type",
    "Type of the instruction by the taxonomy; `other`: no type fits; `none`: not read.",
)
ERROR = Label("error", "Reason of the failure, or `none`.", values=(NO_ERROR, *REASONS, OTHER))
STAGE = Label("stage", "Stage of the request; all stages make up the request.", values=STAGES)
IMAGE_SIZE = Label(
    "image_size", "Width x height of the output image, in pixels.",
    values=(*buckets.IMAGE_SIZES, OTHER),
)
PRECISION = Label(
    "precision", "Number format of the denoiser's weights.",
    values=("float32", "float16", "bfloat16", "int8", OTHER),
)
STEP = Label("step", "Position of the denoising step, counted from 1.", values=buckets.STEP_PLACES)
ENCODER = Label(
    "encoder", "Text encoder.", values=("text_encoder", "text_encoder_2", "text_encoder_3"),
)
GUIDANCE = Label(
    "guidance", "`asked`: the requested value; `in_force`: the value that the pipeline applies.",
    values=("asked", "in_force"),
)
PARAMETER = Label(
    "parameter", "Parameter that the pipeline ignores without an error.",
    values=("guidance_scale", "image_guidance_scale", "true_cfg_scale"),
)
DEVICE = Label("device", "Torch device, such as cuda:0.")
RESULT = Label(
    "outcome", "Result of the request; `overload` includes a service that is not ready.",
    values=("ok", "caller_error", "server_error", "overload", "cancelled"),
)
PRIORITY = Label("priority", "Priority of the request.", values=("high", "normal", "low"))
REJECTION = Label(
    "reason", "Reason of the refusal.", values=(
        "queue_full", "too_late", "concurrency", "rate_limited", "shed", "circuit_open",
        "not_ready", "stopping", "unauthorized", "uploads",
    ),
)
CLOSED = Label(
    "reason", "Bound that the connection met; `evicted`: silent while all places were taken.",
    values=("total", "address", "evicted", "headers", "pipelined", "slow", "unread", "malformed"),
)
API_KEY = Label("key", "Name of the API key in the settings.")
RESTART = Label(
    "reason", "Reason of the replacement.",
    values=("died", "hung", "poisoned", "load_failed", "memory", "wrong"),
)
STOP = Label(
    "stop_reason",
    "Reason why the batch was not larger; `application`: a watched service chose its size.",
    values=("queue_empty", "cap", "overlap", "deadline", "alone", "memory", "application"),
)
LADDER = ("smaller_batches", "admit_less", "fewer_steps", "smaller_size", "shed_low_priority")
ACTION = Label("action", "Action of the degradation ladder.", values=LADDER)
USE = Label(
    "use", "Result of the device time: a useful response, or the reason why there was none.",
    values=("useful", "cancelled", "deadline", "invalid", "failed", "retry", "canary", "shadow"),
)
COPY = Label(
    "verdict",
    "Verdict on the second model after a compared copy; `dropped`: the service was busy, or the "
    "budget spent; `stopped`: a request arrived; `failed`: it could not be compared.",
    values=("better", "worse", "undecided", "dropped", "stopped", "failed"),
)
DEPTH = Label(
    "depth", "`shallow`: the worker answers; `deep`: it makes a golden output.",
    values=("shallow", "deep"),
)
VERDICT = Label(
    "verdict", "What the run found.",
    values=("good", "slow", "wrong", "hung", "dead", "overtaken", "refused"),
)
MODEL_STATE = Label(
    "state", "What is known of the worker's model.",
    values=("unknown", "good", "slow", "wrong", "hung", "dead"),
)
WASTED_USE = "!~useful|canary|shadow"  # matches the other uses
INVALIDITY = Label(
    "reason", "What is wrong with the output image.",
    values=("not_finite", "black", "flat", "noise", "wrong_size"),
)
BACKGROUND = Label(
    "background", "`busy`: entropy above the limit; `calm`: below it.", values=("calm", "busy")
)
OUTCOME = Label("outcome", "Whether the request succeeded.", values=("succeeded", "failed"))
ASSESSMENT = Label(
    "outcome", "Result of the assessment; `dropped`: not done because requests had priority.",
    values=("assessed", "dropped", "failed"),
)

RATING_REASON = Label(
    "reason", "Reason of the rating, or `none`.",
    values=("none", "wrong_edit", "not_followed", "artefacts", "identity_lost", "slow", OTHER),
)
KEPT = Label("outcome", "Result of writing the record.", values=("written", "lost", "refused"))
SENT = Label("outcome", "Whether the trace was sent or is lost.", values=("sent", "lost"))

HANDLER = Label("handler", "Route template, or `none` if no route matched.")
METHOD = Label(
    "method", "HTTP method.",
    values=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", OTHER),
)
STATUS = Label("status", "HTTP status of the response.")

GPU = Label("gpu", "Index of the GPU, or `GPU/instance` for a MIG instance.")
CLOCK = Label("clock", "Clock of the GPU.", values=("sm", "memory"))
THROTTLE = Label(
    "reason", "Reason why the GPU lowers its clock.", values=(
        "power_cap", "hardware_slowdown", "software_thermal", "hardware_thermal", "power_brake",
    ),
)
ECC = Label("kind", "Whether the memory error was corrected.", values=("corrected", "uncorrected"))
DISK = Label("disk", "Block device.")
MOUNTPOINT = Label("mountpoint", "Mount point of the file system.")

PROBE = Label(
    "probe", "Name of the probe.", values=(
        "asgi", "flask", "diffusers", "torch", "nvml", "host", "record", "governor", "entropy",
        "assessment", "model", "processes", "keys", "otlp", "canary", "rollout",
    ),
)

CHANNEL = Label("channel", "Type of receiver.", values=("dingtalk", "feishu", "wecom", "webhook"))
DELIVERY = Label(
    "outcome", "Result of the notification; Alertmanager retries `unreachable` and `rate_limited`.",
    values=("delivered", "refused", "unreachable", "rate_limited"),
)

# ── Request ──────────────────────────────────────────────────────────────────────────────────────

REQUEST_SECONDS = Metric(
    "request_duration_seconds",
    "Time from the arrival of a request to the last byte of its response.",
    Kind.HISTOGRAM, Family.REQUEST,
    (ENDPOINT, STATUS_CODE, INSTRUCTION_TYPE), buckets.REQUEST, series=45,
)
REQUEST_MAX = Metric(
    "request_max_seconds", "Longest time of the requests that ended in this or the last minute.",
    Kind.GAUGE, Family.REQUEST, across=Across.RECENT,
)
SIZE_SECONDS = Metric(
    "request_duration_by_size_seconds",
    "Time of a request that returned an image, by the size of the image.",
    Kind.HISTOGRAM, Family.REQUEST, (INSTRUCTION_TYPE, IMAGE_SIZE), buckets.SIZE, series=25,
)
SPEED_TARGET_SECONDS = 3.0  # the speed of such a request is a half
SPEED = Metric(
    "request_speed_ratio",
    "Speed of successful requests: 3 s / (3 s + time without queue); the radar draws its mean.",
    Kind.SUMMARY, Family.REQUEST, (INSTRUCTION_TYPE,), series=20,
)
REQUESTS = Metric(
    "request_total", "Requests to the model that ended, with the reason if they failed.",
    Kind.COUNTER, Family.REQUEST, (ENDPOINT, STATUS_CODE, INSTRUCTION_TYPE, ERROR), series=220,
)
SUCCESSES = Metric(
    "request_success_total", "Requests to the model that ended without an error.",
    Kind.COUNTER, Family.REQUEST, (ENDPOINT, INSTRUCTION_TYPE), series=64,  # 3 routes of 20
)
OUTCOMES = Metric(
    "request_outcomes_total", "Requests to the model that ended, by whose fault they failed.",
    Kind.COUNTER, Family.REQUEST, (RESULT, PRIORITY), series=15,
)
PRIORITY_SECONDS = Metric(
    "request_duration_by_priority_seconds", "Time of a request that was served or failed.",
    Kind.HISTOGRAM, Family.REQUEST, (PRIORITY,), buckets.REQUEST, series=3,
)
QUEUED_SECONDS = Metric(
    "request_queued_duration_seconds", "Queue wait of a request.",
    Kind.HISTOGRAM, Family.REQUEST, (PRIORITY,), buckets.QUEUE, series=3,
)
STAGE_SECONDS = Metric(
    "request_stage_duration_seconds",
    "Time of one stage of a request; the sum of all stages is the whole request.",
    Kind.HISTOGRAM, Family.REQUEST, (STAGE,), buckets.STAGE, series=len(STAGES),
)
IN_FLIGHT = Metric(
    "requests_in_flight", "Requests to the model that have not ended.", Kind.GAUGE, Family.REQUEST
)
IMAGES = Metric(
    "request_images_total", "Output images, by size.",
    Kind.COUNTER, Family.REQUEST, (IMAGE_SIZE,), series=len(buckets.IMAGE_SIZES) + 1,
)

OUTPUT_PIXELS = Metric(
    "output_pixels_total", "Pixels of the output images.", Kind.COUNTER, Family.REQUEST
)
LAST_SUCCESS = Metric(
    "request_last_success_timestamp_seconds", "Time of the last request that ended without error.",
    Kind.GAUGE, Family.REQUEST, across=Across.MAX,
)

# ── Model ────────────────────────────────────────────────────────────────────────────────────────

INFERENCE_SECONDS = Metric(
    "inference_duration_seconds", "Time of one inference call of the pipeline.",
    Kind.HISTOGRAM, Family.MODEL, (PRECISION,), buckets.REQUEST, series=5,
)
STEP_SECONDS = Metric(
    "step_latency_seconds", "Time of one denoising step on its device.",
    Kind.HISTOGRAM, Family.MODEL, (STEP,), buckets.STEP, series=len(buckets.STEP_PLACES),
)
DEVICE_STEP_SECONDS = Metric(
    "device_step_seconds", "Time of the denoising steps, by the device that did them.",
    Kind.SUMMARY, Family.MODEL, (DEVICE,), series=9,
)
ENCODER_SECONDS = Metric(
    "text_encoder_duration_seconds", "Time of a call in one text encoder, on its device.",
    Kind.SUMMARY, Family.MODEL, (ENCODER,), series=3,
)
STEPS = Metric(
    "steps", "Denoising steps that an inference call ran.",
    Kind.HISTOGRAM, Family.MODEL, buckets=buckets.STEPS,
)
IMAGE_GUIDANCE = Metric(
    "image_guidance_ratio",
    "Image guidance of the last call: requested and applied (1 is no guidance).",
    Kind.GAUGE, Family.MODEL, (GUIDANCE,), series=2, across=Across.LAST,
)
TEXT_GUIDANCE = Metric(
    "text_guidance_ratio",
    "Text guidance of the last call: requested and applied (1 is no guidance).",
    Kind.GAUGE, Family.MODEL, (GUIDANCE,), series=2, across=Across.LAST,
)
GUIDANCE_OVERRIDDEN = Metric(
    "guidance_overridden_total",
    "Calls in which the pipeline ignored the requested guidance without an error.",
    Kind.COUNTER, Family.MODEL, (PARAMETER,), series=3,
)
VRAM_USED = Metric(
    "vram_used_bytes",
    "GPU memory that PyTorch has allocated to tensors (not the GPU's total use).",
    Kind.GAUGE, Family.MODEL, (DEVICE,), series=16,
)
VRAM_RESERVED = Metric(
    "vram_reserved_bytes", "GPU memory that PyTorch's allocator has reserved, used or cached.",
    Kind.GAUGE, Family.MODEL, (DEVICE,), series=16,
)
VRAM_PEAK = Metric(
    "vram_peak_bytes", "Maximum of the GPU memory that PyTorch has allocated since the start.",
    Kind.GAUGE, Family.MODEL, (DEVICE,), series=16,
)
MODEL_INFO = Metric(
    "model_info", "Always 1; its labels describe the loaded model.", Kind.GAUGE, Family.MODEL, (
        Label("model", "Hub id, folder name or demo."),
        Label("pipeline", "Class of the pipeline."),
        Label("scheduler", "Class of the scheduler."),
        PRECISION, DEVICE,
        Label("adapters", "Loaded LoRA adapters, or `none`."),
    ), series=8, across=Across.MAX,
)
MODEL_LOAD_SECONDS = Metric(
    "model_load_seconds", "Time of the last load.", Kind.GAUGE, Family.MODEL, across=Across.MAX
)
MODEL_WARM_UP_SECONDS = Metric(
    "model_warm_up_seconds", "Time of the warm-up call, which is part of the load.",
    Kind.GAUGE, Family.MODEL, across=Across.MAX,
)
MODEL_WEIGHTS = Metric(
    "model_weights_bytes", "Memory of the model's weights.", Kind.GAUGE, Family.MODEL
)
WARM_UPS = Metric(
    "warm_up_calls_total",
    "Calls during which torch.compile ran; the histograms of the model's time exclude them.",
    Kind.COUNTER, Family.MODEL,
)
PROMPTS_TRUNCATED = Metric(
    "prompt_truncated_total", "Output images whose prompt was too long for the text encoder.",
    Kind.COUNTER, Family.MODEL,
)

# The names of the article on recognition services; they have no namespace.
MODEL_NAME = Label("model_name", "Name that the service gave to the model, or its hub id.")
MODEL_REQUESTS = Metric(
    "model_request_total",
    "Calls of a model, and requests that the service failed before they reached it.",
    Kind.COUNTER, Family.CALLS,
    (MODEL_NAME, Label("status", "Result of the call.", values=("success", "failed"))), series=17,
)
MODEL_LATENCY = Metric(
    "model_latency_seconds", "Time of one call of a model.",
    Kind.HISTOGRAM, Family.CALLS, (MODEL_NAME,), buckets.STAGE, series=8,
)

# ── Queue, governance ────────────────────────────────────────────────────────────────────────────

QUEUE_DEPTH = Metric("queue_depth", "Requests that wait.", Kind.GAUGE, Family.QUEUE)
QUEUE_OLDEST = Metric(
    "queue_oldest_seconds", "Wait so far of the oldest request that waits.",
    Kind.GAUGE, Family.QUEUE, across=Across.MAX,
)
QUEUED_WORK = Metric(
    "queued_work_seconds", "Estimated time of the queued work; `high` includes the running work.",
    Kind.GAUGE, Family.QUEUE, (PRIORITY,), series=3,
)
REQUEST_TIMEOUT = Metric(
    "request_timeout_seconds", "Default timeout of a request, from its arrival.",
    Kind.GAUGE, Family.QUEUE, across=Across.MAX,
)
BATCH_SIZE = Metric(
    "batch_size", "Requests in one call of the model.",
    Kind.HISTOGRAM, Family.QUEUE, (STOP,), buckets.BATCH, series=len(STOP.values or ()),
)
BATCH_LIMIT = Metric(
    "batch_size_limit", "Largest useful batch, as measured for the last batch's kind of request.",
    Kind.GAUGE, Family.QUEUE, across=Across.LAST,
)
BATCH_SPEEDUP = Metric(
    "batch_speedup_ratio", "Images per second at that batch size, relative to batches of one.",
    Kind.GAUGE, Family.QUEUE, across=Across.LAST,
)
REJECTED = Metric(
    "rejected_total", "Requests refused before they reached the model.",
    Kind.COUNTER, Family.GOVERNANCE, (REJECTION,), series=len(REJECTION.values or ()),
)
CONNECTIONS_CLOSED = Metric(
    "connections_closed_total", "Connections that were refused, or closed because of a bound.",
    Kind.COUNTER, Family.GOVERNANCE, (CLOSED,), series=len(CLOSED.values or ()),
)
KEY_REQUESTS = Metric(
    "key_requests_total", "Requests that an API key was accepted for, by the key's name.",
    Kind.COUNTER, Family.GOVERNANCE, (API_KEY,), series=16,
)
WORKERS_READY = Metric(
    "workers_ready", "Worker processes that have loaded the model.", Kind.GAUGE, Family.GOVERNANCE
)
MODEL_ASLEEP = Metric(
    "model_asleep", "1 while the model sleeps: no worker runs until a request comes.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.MAX,
)
WORKER_RESTARTS = Metric(
    "worker_restarts_total", "Worker processes replaced.",
    Kind.COUNTER, Family.GOVERNANCE, (RESTART,), series=len(RESTART.values or ()),
)
DEGRADATION_LEVEL = Metric(
    "degradation_level", "Active steps of the degradation ladder; 0 is full quality.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.MAX,
)
DEGRADED = Metric(
    "degraded_total", "Requests that the degradation ladder changed or refused.",
    Kind.COUNTER, Family.GOVERNANCE, (ACTION,), series=len(ACTION.values or ()),
)
CIRCUIT_OPEN = Metric(
    "circuit_open",
    "State of the circuit breaker: 1 open, 0.5 half open (one request is tried), 0 closed.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.MAX,
)
DEVICE_SECONDS = Metric(
    "device_seconds_total", "Device time, by its result.",
    Kind.COUNTER, Family.GOVERNANCE, (USE,), series=len(USE.values or ()),
)
TYPE_DEVICE_SECONDS = Metric(
    "instruction_device_seconds_total", "Device time, by the type of the instruction.",
    Kind.COUNTER, Family.GOVERNANCE, (INSTRUCTION_TYPE,), series=20,
)
GOOD_OUTPUTS = Metric(
    "good_outputs_total", "Outputs that device time was useful for: valid, for a caller who waits.",
    Kind.COUNTER, Family.GOVERNANCE, (INSTRUCTION_TYPE,), series=20,
)
DEVICE_HELD_SECONDS = Metric(
    "device_held_seconds_total", "Time of the devices, busy or idle: one second per worker.",
    Kind.COUNTER, Family.GOVERNANCE,
)
GPU_HOUR_PRICE = Metric(
    "gpu_hour_price", "Price of an hour of one device; absent if it is unknown.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.MAX,
)
CANARY_RUNS = Metric(
    "canary_runs_total", "Runs of the canary, by what they found; a request ends an overtaken one.",
    Kind.COUNTER, Family.GOVERNANCE, (DEPTH, VERDICT), series=14,
)
CANARY_WORKERS = Metric(
    "canary_workers", "Workers, by what the canary knows of their models.",
    Kind.GAUGE, Family.GOVERNANCE, (MODEL_STATE,), series=6,
)
CANARY_DRIFT = Metric(
    "canary_drift_ratio",
    "Difference of the last golden output, as a share of the limit; above 1 it is wrong.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.LAST,
)
CANARY_SECONDS = Metric(
    "canary_duration_seconds", "Time of the canary's last deep run, on its device.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.LAST,
)
CANARY_GOOD = Metric(
    "canary_last_good_timestamp_seconds", "Time of the last deep run that was good.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.MAX,
)
READINESS_FORCED = Metric(
    "readiness_forced", "1 while a broken model serves, because no other instance is ready.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.MAX,
)
OUTPUT_INVALID = Metric(
    "output_invalid_total", "Output images that were invalid and not sent.",
    Kind.COUNTER, Family.QUALITY, (INVALIDITY,), series=len(INVALIDITY.values or ()),
)
USER_RATING = Metric(
    "user_rating", "First rating of a response by its caller, 1 (bad) to 5 (good).",
    Kind.HISTOGRAM, Family.QUALITY, (INSTRUCTION_TYPE,), buckets.RATINGS, series=20,
)
USER_RATINGS = Metric(
    "user_ratings_total", "First ratings by callers, by reason.",
    Kind.COUNTER, Family.QUALITY, (RATING_REASON,), series=len(RATING_REASON.values or ()),
)
RATINGS_CHANGED = Metric(
    "user_ratings_changed_total",
    "Ratings that replaced an earlier one; the records contain the last.",
    Kind.COUNTER, Family.QUALITY,
)
QUALITY_SCORE = Metric(
    "image_quality_score", "Quality score of the assessed output images, 0 to 1.",
    Kind.HISTOGRAM, Family.QUALITY, (INSTRUCTION_TYPE,), buckets.SCORE, series=20,
)
QUALITY_SQUARES = Metric(
    "image_quality_score_squares", "Squares of these scores, to compute their deviation.",
    Kind.SUMMARY, Family.QUALITY, (INSTRUCTION_TYPE,), series=20,
)
STRUCTURE = Metric(
    "structure_similarity_ratio",
    "Structural similarity of input and output image, of the assessed edits.",
    Kind.HISTOGRAM, Family.QUALITY, (INSTRUCTION_TYPE,), buckets.SIMILARITY, series=20,
)
ADHERENCE = Metric(
    "prompt_adherence_ratio",
    "Similarity of intact output images and prompts, by CLIP or by the tagger of a demo.",
    Kind.SUMMARY, Family.QUALITY, (INSTRUCTION_TYPE,), series=20,
)
BACKGROUND_ENTROPY = Metric(
    "background_entropy", "Entropy of the background colours of input images, in bits (0 to 12).",
    Kind.HISTOGRAM, Family.QUALITY, buckets=buckets.ENTROPY,
)
BACKGROUNDS = Metric(
    "edits_by_background_total",
    "Requests to edit an image, by the image's background and the outcome.",
    Kind.COUNTER, Family.QUALITY, (BACKGROUND, OUTCOME), series=4,
)
ASSESSMENTS = Metric(
    "quality_assessments_total", "Output images chosen for an assessment after they were sent.",
    Kind.COUNTER, Family.QUALITY, (ASSESSMENT,), series=len(ASSESSMENT.values or ()),
)
ASSESSMENT_SECONDS = Metric(
    "quality_assessment_seconds", "Time of an assessment.", Kind.SUMMARY, Family.QUALITY
)
SHADOW = Metric(
    "shadow_total", "Requests that were to be copied to the second model, after their answer.",
    Kind.COUNTER, Family.QUALITY, (COPY,), series=len(COPY.values or ()),
)
SHADOW_LATENCY = Metric(
    "shadow_latency_ratio", "Device time of the second model's copies, relative to the first's.",
    Kind.GAUGE, Family.QUALITY, across=Across.LAST,
)
SHADOW_DIFFERENCE = Metric(
    "shadow_difference_ratio", "Mean difference of both models' images, 0 (equal) to 1.",
    Kind.GAUGE, Family.QUALITY, across=Across.LAST,
)
ROLLOUT = Metric(
    "rollout_ratio", "Share of the callers whom the second model serves.",
    Kind.GAUGE, Family.GOVERNANCE, across=Across.LAST,
)
ROLLBACKS = Metric(
    "rollbacks_total", "Rollouts that were rolled back, because the second model was worse.",
    Kind.COUNTER, Family.GOVERNANCE,
)

# ── HTTP: the names of prometheus-fastapi-instrumentator ─────────────────────────────────────────

HTTP_REQUESTS = Metric(
    "http_requests_total", "HTTP requests that ended.",
    Kind.COUNTER, Family.HTTP, (HANDLER, METHOD, STATUS), series=140,  # 28 routes
)
HTTP_SECONDS = Metric(
    "http_request_duration_seconds",
    "Time from the arrival of a request to the last byte of its response.",
    Kind.HISTOGRAM, Family.HTTP, (HANDLER, METHOD), buckets.HTTP, series=28,
)
HTTP_REQUEST_BYTES = Metric(
    "http_request_size_bytes", "Bytes of request bodies that the application read.",
    Kind.SUMMARY, Family.HTTP, (HANDLER,), series=28,
)
HTTP_RESPONSE_BYTES = Metric(
    "http_response_size_bytes", "Bytes of response bodies, including streamed ones.",
    Kind.SUMMARY, Family.HTTP, (HANDLER,), series=28,
)
HTTP_IN_PROGRESS = Metric(
    "http_requests_inprogress", "HTTP requests that have not ended yet.", Kind.GAUGE, Family.HTTP
)
HTTP_LAG = Metric(
    "http_event_loop_lag_seconds", "Delay of a timer in the event loop: handlers blocked the loop.",
    Kind.HISTOGRAM, Family.HTTP, buckets=buckets.LAG,
)

# ── GPU ──────────────────────────────────────────────────────────────────────────────────────────


_GPUS = 17  # 16, and `other`
_WITH_INSTANCES = 65  # 8 GPUs with 7 MIG instances each, and `other`


def _gpu(
    name: str, help_text: str, kind: Kind = Kind.GAUGE, *labels: Label, each: int = 1,
    gpus: int = _GPUS,
) -> Metric:
    across, series = of_machine(kind), gpus * each
    return Metric(name, help_text, kind, Family.GPU, (GPU, *labels), series=series, across=across)


GPU_UTILIZATION = _gpu("gpu_utilization_ratio", "Share of time in which a kernel ran on the GPU.")
GPU_MEMORY_BUSY = _gpu(
    "gpu_memory_busy_ratio", "Share of time in which the GPU's memory was read or written."
)
GPU_MEMORY_USED = _gpu(
    "gpu_memory_used_bytes", "GPU memory used by all processes.", gpus=_WITH_INSTANCES
)
GPU_MEMORY_TOTAL = _gpu("gpu_memory_total_bytes", "Size of its memory.", gpus=_WITH_INSTANCES)
GPU_TEMPERATURE = _gpu("gpu_temperature_celsius", "Temperature of the GPU.")
GPU_POWER = _gpu("gpu_power_watts", "Power draw of the GPU.")
GPU_POWER_LIMIT = _gpu("gpu_power_limit_watts", "Power limit of the GPU.")
GPU_ENERGY = _gpu(
    "gpu_energy_joules_total", "Energy used by the GPU since its driver was loaded.", Kind.COUNTER
)
GPU_CLOCK = _gpu("gpu_clock_hertz", "Clock frequency of the GPU.", Kind.GAUGE, CLOCK, each=2)
GPU_THROTTLED = _gpu(
    "gpu_throttled", "1 while the GPU lowers its clock for this reason.", Kind.GAUGE, THROTTLE,
    each=5,
)
GPU_ECC_ERRORS = _gpu(
    "gpu_ecc_errors_total", "Memory errors since the driver was loaded.", Kind.COUNTER, ECC, each=2
)
GPU_INFO = _gpu(
    "gpu_info", "Always 1; its labels describe the GPU.", Kind.GAUGE,
    Label("uuid", "UUID of the GPU."), Label("name", "Product name of the GPU."),
    Label("driver", "Version of the driver."),
    gpus=_WITH_INSTANCES,
)

# ── Host ─────────────────────────────────────────────────────────────────────────────────────────


def _host(name: str, help_text: str, kind: Kind = Kind.GAUGE, *labels: Label) -> Metric:
    across, series = of_machine(kind), 16 if labels else 1
    return Metric(name, help_text, kind, Family.HOST, labels, series=series, across=across)


HOST_CPU = _host("host_cpu_utilization_ratio", "Share of the time of all CPU cores that is used.")
HOST_MEMORY_USED = _host("host_memory_used_bytes", "Host memory that is not available to programs.")
HOST_MEMORY_TOTAL = _host("host_memory_total_bytes", "Size of the host's memory.")
CGROUP_MEMORY_USED = _host(
    "cgroup_memory_used_bytes", "Memory of the container, without its inactive file cache."
)
CGROUP_MEMORY_LIMIT = _host("cgroup_memory_limit_bytes", "Limit of the container's memory.")
HOST_DISK_READ = _host(
    "host_disk_read_bytes_total", "Bytes read from the disk.", Kind.COUNTER, DISK
)
HOST_DISK_WRITTEN = _host(
    "host_disk_written_bytes_total", "Bytes written to the disk.", Kind.COUNTER, DISK
)
HOST_DISK_BUSY = _host(
    "host_disk_busy_seconds_total", "Time in which the disk was busy.", Kind.COUNTER, DISK
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

# ── Safelight itself ─────────────────────────────────────────────────────────────────────────────


def _safelight(
    name: str, help_text: str, kind: Kind, *labels: Label, series: int = 1,
    across: Across = Across.SUM,
) -> Metric:
    return Metric(name, help_text, kind, Family.SAFELIGHT, labels, series=series, across=across)


BUILD_INFO = _safelight(
    "safelight_build_info", "Always 1; its labels are the running versions.", Kind.GAUGE,
    Label("version", "Version of Safelight."), Label("python", "Version of Python."),
    across=Across.MAX,
)
SERVICE_INFO = _safelight(
    "safelight_service_info", "Always 1; its label is the namespace of the service's metrics.",
    Kind.GAUGE, Label("namespace", "Prefix of the service's metrics."), across=Across.MAX,
)
PROBE_FAILURES = _safelight(
    "safelight_probe_failures_total", "Failures of a probe; requests were not affected.",
    Kind.COUNTER, PROBE, series=len(PROBE.values or ()),
)
PROBE_SECONDS = _safelight(
    "safelight_probe_seconds_total", "CPU time of the sampling probes.",
    Kind.COUNTER, PROBE, series=len(PROBE.values or ()),
)
PROBE_TIMESTAMP = _safelight(
    "safelight_probe_last_success_timestamp_seconds", "Time of the last success of the probe.",
    Kind.GAUGE, PROBE, series=len(PROBE.values or ()), across=Across.MAX,
)
LOG_LINES_LOST = _safelight(
    "safelight_log_lines_lost_total",
    "Log lines that were not written, because of a full disk or a closed pipe.",
    Kind.COUNTER,
)
RECORDS = _safelight(
    "safelight_records_total", "Records for the database: requests, assessments and ratings.",
    Kind.COUNTER, KEPT, series=len(KEPT.values or ()),
)
RECORDS_WAITING = _safelight(
    "safelight_records_waiting", "Records that are not written to the database yet.", Kind.GAUGE
)
TRACES = _safelight(
    "safelight_traces_total", "Kept traces of requests, by whether the receiver accepted them.",
    Kind.COUNTER, SENT, series=len(SENT.values or ()),
)
SERIES_FOLDED = _safelight(
    "safelight_series_folded_total",
    "Events counted as `other`, because their metric has its maximum of series.",
    Kind.COUNTER, Label("metric", "Name of the metric without its namespace."), series=26,
)
EXPOSITION_SECONDS = _safelight(
    "safelight_exposition_seconds", "Time to write the last response to a scrape.",
    Kind.GAUGE, across=Across.LAST,
)
EXPOSITION_LINES = _safelight(
    "safelight_exposition_lines", "Lines of the last response to a scrape.",
    Kind.GAUGE, across=Across.LAST,
)
NOTIFICATIONS = _safelight(
    "safelight_notifications_total", "Notifications that the relay received from Alertmanager.",
    Kind.COUNTER, CHANNEL, DELIVERY, series=len(CHANNEL.values or ()) * len(DELIVERY.values or ()),
)
NOTIFICATION_SECONDS = _safelight(
    "safelight_notification_seconds", "Time to deliver the last notification, including retries.",
    Kind.GAUGE, CHANNEL, series=len(CHANNEL.values or ()), across=Across.LAST,
)

CATALOG: tuple[Metric, ...] = tuple(
    value for value in list(vars().values()) if isinstance(value, Metric)
)
