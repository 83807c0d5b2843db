"""Every way Safelight fails: one tree, and each branch knows its HTTP status, reason and exit code.

SafelightError
├── BadInput                     the caller's to mend (4xx)
│   ├── MalformedBody            bad_request             400
│   ├── UnsupportedMediaType     unsupported_media_type  415
│   ├── BodyTooLarge             body_too_large          413
│   ├── NotAnImage               not_an_image            422
│   ├── ImageDamaged             image_damaged           422
│   ├── ImageTooLarge            image_too_large         413
│   ├── InvalidParameter         invalid_parameter       422
│   ├── UnsupportedTask          unsupported_task        404
│   ├── UnknownRequest           not_found               404
│   └── Unauthorized             unauthorized            401
├── Unavailable                  come back later (429, 503, 504)
│   ├── NotReady                 not_ready               503
│   ├── Stopping                 stopping                503
│   ├── Overloaded               overloaded              503
│   ├── RateLimited              rate_limited            429
│   ├── CircuitOpen              circuit_open            503
│   ├── WorkerLost               worker_lost             503
│   ├── Timeout                  timeout                 504
│   └── Cancelled                cancelled               499
├── ModelFailure                 the model could not (5xx)
│   ├── OutOfMemory              cuda_oom                503
│   ├── InvalidOutput            invalid_output          502
│   ├── StructureCorruption      structure_corruption    200
│   └── ModelError               model_error             500
├── InternalError                internal_error          500
└── Unusable                     the operator's to mend: nothing starts (exit code 2 or 3)
    ├── BadSetting
    ├── MissingExtra
    ├── MissingProgram
    ├── ModelNotFound
    ├── PortTaken
    ├── RecordsUnusable
    ├── ServiceFailed
    ├── MonitoringFailed
    └── AlreadyWatched
"""

import errno
from collections.abc import Sequence


class SafelightError(Exception):
    """Whatever Safelight raises on purpose; its text is safe to show to the caller."""

    status = 500
    reason = "internal_error"
    exit_code = 1
    retry_after_seconds: float | None = None


class BadInput(SafelightError):
    """The request cannot be served as it is, now or later."""

    status = 400
    reason = "bad_request"


class MalformedBody(BadInput):
    """The body is not what its content type says."""


class UnsupportedMediaType(BadInput):
    """The body's content type is none that the route reads."""

    status = 415
    reason = "unsupported_media_type"

    def __init__(self, content_type: str, accepted: Sequence[str]) -> None:
        shown = content_type[:60] or "none"
        super().__init__(f"The content type is {shown!r}; send one of {', '.join(accepted)}.")


class BodyTooLarge(BadInput):
    """The body has more bytes than one request may send."""

    status = 413
    reason = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The body is larger than the limit of {limit_bytes} bytes. "
            "Send a smaller image, or raise SAFELIGHT_BODY_LIMIT_BYTES."
        )


class NotAnImage(BadInput):
    """The bytes are no picture that Pillow knows."""

    status = 422
    reason = "not_an_image"

    def __init__(self) -> None:
        super().__init__("The image is not in a known format. Send a JPEG, PNG or WebP file.")


class ImageDamaged(BadInput):
    """The picture starts well and cannot be read to its end."""

    status = 422
    reason = "image_damaged"

    def __init__(self) -> None:
        super().__init__("The image is truncated or damaged. Send the whole file again.")


class ImageTooLarge(BadInput):
    """The picture has more pixels than one request may send."""

    status = 413
    reason = "image_too_large"

    def __init__(self, width: int, height: int, limit_pixels: int) -> None:
        super().__init__(
            f"The image has {width} x {height} pixels and the limit is {limit_pixels} pixels. "
            "Send a smaller image, or raise SAFELIGHT_IMAGE_LIMIT_PIXELS."
        )


class InvalidParameter(BadInput):
    """A parameter is missing, unknown, or out of its bounds."""

    status = 422
    reason = "invalid_parameter"


class UnsupportedTask(BadInput):
    """The model that is served does something else."""

    status = 404
    reason = "unsupported_task"

    def __init__(self, asked: str, served: str, path: str) -> None:
        super().__init__(f"The model served here does not {asked}, it does {served}: POST {path}.")


class UnknownRequest(BadInput):
    """There is no request of that id (any more), or it is somebody else's."""

    status = 404
    reason = "not_found"

    def __init__(self, what: str = "request") -> None:
        super().__init__(f"There is no such {what} (any more), or it is not yours.")


class Unauthorized(BadInput):
    """The caller showed no key, or one that is not known."""

    status = 401
    reason = "unauthorized"

    def __init__(self) -> None:
        super().__init__("A known API key is needed. Send `Authorization: Bearer <key>`.")


class Unavailable(SafelightError):
    """The request was good and could not be served this time."""

    status = 503
    reason = "overloaded"


class NotReady(Unavailable):
    """The model is not loaded, or not loaded again yet."""

    reason = "not_ready"
    retry_after_seconds = 5.0

    def __init__(self) -> None:
        super().__init__("The model is still loading. Retry shortly; /readyz tells when.")


class Stopping(Unavailable):
    """The service was told to stop, and takes no more work."""

    reason = "stopping"
    retry_after_seconds = 1.0

    def __init__(self) -> None:
        super().__init__("The service is stopping. Send the request again, to another instance.")


class Overloaded(Unavailable):
    """There is more work than can be done in time; `why` says which limit was met."""

    def __init__(self, why: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(why)


class RateLimited(Unavailable):
    """The caller sends more requests than its share."""

    status = 429
    reason = "rate_limited"

    def __init__(self, per_minute: float, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"You may send {per_minute:g} requests a minute. Send fewer, or have "
            "SAFELIGHT_RATE_LIMIT_PER_MINUTE raised."
        )


class CircuitOpen(Unavailable):
    """The model failed again and again and is left alone for a while."""

    reason = "circuit_open"

    def __init__(self, failures: int, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"The model failed {failures} times in a row and rests. Retry in "
            f"{max(1.0, retry_after_seconds):.0f} seconds; the service's log has the failures."
        )


class WorkerLost(Unavailable):
    """The worker process ended while it had the job."""

    reason = "worker_lost"
    retry_after_seconds = 10.0

    def __init__(self) -> None:
        super().__init__("The worker process ended while it had this request. Send it again.")


class Timeout(Unavailable):
    """The deadline passed before the answer was there."""

    status = 504
    reason = "timeout"

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(
            f"The answer was not ready within {limit_seconds:g} seconds. "
            "Ask for fewer steps or a smaller image, or allow more time: the X-Request-Timeout "
            "header, or SAFELIGHT_REQUEST_TIMEOUT_SECONDS."
        )


class Cancelled(Unavailable):
    """The caller left before the answer was there."""

    status = 499
    reason = "cancelled"

    def __init__(self) -> None:
        super().__init__("The request was cancelled before its answer was ready.")


class ModelFailure(SafelightError):
    """The model had the job and did not finish it."""

    reason = "model_error"


class OutOfMemory(ModelFailure):
    """The device's memory did not suffice."""

    status = 503
    reason = "cuda_oom"

    def __init__(self, fits: str = "Send a smaller image, or fewer at once.") -> None:
        super().__init__(f"The device ran out of memory. {fits}")


class InvalidOutput(ModelFailure):
    """The model made something that is no picture worth sending."""

    status = 502
    reason = "invalid_output"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The model's image is not usable ({what.replace('_', ' ')}). "
            "Try another seed or instruction."
        )


class StructureCorruption(ModelFailure):
    """The edit destroyed what it should have kept; the picture is sent, with a warning."""

    status = 200
    reason = "structure_corruption"

    def __init__(self, kept: float, floor: float) -> None:
        super().__init__(
            f"The edit kept {kept:.0%} of the picture; of its kind {floor:.0%} are the least. "
            "Try another seed, or a higher image_guidance_scale."
        )


class ModelError(ModelFailure):
    """The model raised an error of its own."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"The model failed with {kind}. The service's log has the details.")


class InternalError(SafelightError):
    """The service itself failed in a way that nobody foresaw; its log has the details."""

    def __init__(self) -> None:
        super().__init__("The service failed unexpectedly. Its log has the details.")


class Unusable(SafelightError):
    """Something needed is missing or wrong: the command stops before it starts."""

    exit_code = 2


class BadSetting(Unusable):
    """A setting, or a file that a setting names, cannot be used."""


class MissingExtra(Unusable):
    """A library of an optional extra is not installed."""

    exit_code = 3

    def __init__(self, extra: str, library: str) -> None:
        super().__init__(f"{library} is not installed. Run: pip install 'safelight[{extra}]'")


class MissingProgram(Unusable):
    """A program that the command runs is not installed."""

    exit_code = 3

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"{program} is not installed. On Debian run: apt-get install {package}; "
            "elsewhere see https://prometheus.io/download."
        )


class ModelNotFound(Unusable):
    """The model is no folder, no bundled demo and no hub id within reach."""

    exit_code = 3

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"The model {model[:100]!r} could not be loaded: {why} "
            "Name a hub id, a demo such as demo-edit, or a folder with model_index.json or "
            "config.json."
        )


class PortTaken(Unusable):
    """Another program listens where a service of ours should."""

    exit_code = 3

    def __init__(self, service: str, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host}, wanted by {service}, is taken. "
            f"Stop the program that holds it, or choose another port (safelight up --help)."
        )


class RecordsUnusable(Unusable):
    """The database of the records cannot be opened, is none of ours, or has no such service."""

    exit_code = 3


class ServiceFailed(Unusable):
    """A service that we started did not come up, or did not stay up."""

    exit_code = 1


class MonitoringFailed(Unusable):
    """Prometheus could not be asked, or what it answered is of no use: nothing can be said."""

    exit_code = 3


class AlreadyWatched(Unusable):
    """The object has a probe already."""

    def __init__(self, what: str) -> None:
        super().__init__(f"This {what} is already watched. Call .unwatch() on the first watch.")


def cannot_listen(service: str, host: str, port: int, error: OSError) -> Unusable:
    """Return why a service cannot listen: the port is taken, or the address is not ours."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(service, host, port)
    return BadSetting(
        f"{service} cannot listen on {host}:{port}: {error.strerror}. "
        "Choose another address (--host) or port."
    )
