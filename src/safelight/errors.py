"""All exceptions of Safelight, with their HTTP status, reason and exit code.

SafelightError
├── BadInput                     the caller must change the request (4xx)
│   ├── MalformedBody            bad_request             400
│   ├── UnsupportedMediaType     unsupported_media_type  415
│   ├── BodyTooLarge             body_too_large          413
│   ├── NotAnImage               not_an_image            422
│   ├── ImageDamaged             image_damaged           422
│   ├── ImageTooLarge            image_too_large         413
│   ├── ImageTooCostly           image_too_costly        422
│   ├── InvalidParameter         invalid_parameter       422
│   ├── UnsupportedTask          unsupported_task        404
│   ├── UnknownRequest           not_found               404
│   ├── UnknownService           not_found               404
│   ├── IdempotencyConflict      request_id_conflict     409
│   ├── CannotSleep              cannot_sleep            409
│   ├── RolloutConflict          rollout_conflict        409
│   ├── Unauthorized             unauthorized            401
│   ├── Forbidden                forbidden               403
│   └── ForeignPage              foreign_page            403
├── Unavailable                  the caller may retry later (429, 499, 503, 504)
│   ├── NotReady                 not_ready               503
│   ├── Stopping                 stopping                503
│   ├── Overloaded               overloaded              503
│   ├── RateLimited              rate_limited            429
│   ├── CircuitOpen              circuit_open            503
│   ├── WorkerLost               worker_lost             503
│   ├── Timeout                  timeout                 504
│   └── Cancelled                cancelled               499
├── ModelFailure                 the model failed (5xx)
│   ├── OutOfMemory              cuda_oom                503
│   ├── HostOutOfMemory          host_oom                503
│   ├── InvalidOutput            invalid_output          502
│   ├── StructureCorruption      structure_corruption    200
│   └── ModelError               model_error             500
├── InternalError                internal_error          500
└── Unusable                     the operator must fix it: nothing starts (exit code 1 to 3)
    ├── BadSetting
    ├── MissingExtra
    ├── MissingProgram
    ├── ModelNotFound
    ├── ModelTooLarge
    ├── PortTaken
    ├── RecordsUnusable
    ├── ServiceFailed
    ├── MonitoringFailed
    │   └── MonitoringAbsent
    └── AlreadyWatched
"""

import errno
from collections.abc import Sequence

from safelight.units import share


class SafelightError(Exception):
    """Base class. The message is safe to show to the caller."""

    status = 500
    reason = "internal_error"
    exit_code = 1
    retry_after_seconds: float | None = None


class BadInput(SafelightError):
    """The request is invalid; the same request will fail again."""

    status = 400
    reason = "bad_request"


class MalformedBody(BadInput):
    """The body does not match its content type."""


class UnsupportedMediaType(BadInput):
    """The route does not accept the body's content type, or the service cannot read the format."""

    status = 415
    reason = "unsupported_media_type"


class BodyTooLarge(BadInput):
    """The body is larger than the limit."""

    status = 413
    reason = "body_too_large"

    def __init__(
        self,
        limit_bytes: int,
        advice: str = "Send a smaller image, or raise SAFELIGHT_BODY_LIMIT_BYTES.",
    ) -> None:
        super().__init__(f"The body is larger than the limit of {limit_bytes} bytes. {advice}")


class NotAnImage(BadInput):
    """The first bytes are not those of an image format that is read."""

    status = 422
    reason = "not_an_image"

    def __init__(self, accepted: str) -> None:
        super().__init__(f"The image is not in a known format. Send {accepted}.")


class ImageDamaged(BadInput):
    """The image file is truncated or damaged."""

    status = 422
    reason = "image_damaged"

    def __init__(self) -> None:
        super().__init__("The image is truncated or damaged. Send the whole file again.")


class ImageTooLarge(BadInput):
    """The image has more pixels than the limit."""

    status = 413
    reason = "image_too_large"

    def __init__(self, width: int, height: int, limit_pixels: int) -> None:
        super().__init__(
            f"The image has {width} x {height} pixels and the limit is {limit_pixels} pixels. "
            "Send a smaller image, or raise SAFELIGHT_IMAGE_LIMIT_PIXELS."
        )


class ImageTooCostly(BadInput):
    """Decoding the image would cost far more than its size."""

    status = 422
    reason = "image_too_costly"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} Save it again with an image editor, and send that file.")


class InvalidParameter(BadInput):
    """A parameter is missing, unknown or out of range."""

    status = 422
    reason = "invalid_parameter"


class UnsupportedTask(BadInput):
    """The served model does another task."""

    status = 404
    reason = "unsupported_task"

    def __init__(self, requested: str, served: str, path: str) -> None:
        super().__init__(
            f"The model served here does not {requested}, it does {served}: POST {path}."
        )


class UnknownRequest(BadInput):
    """No request has this id, it has expired, or it belongs to another caller."""

    status = 404
    reason = "not_found"

    def __init__(self, what: str = "request") -> None:
        super().__init__(f"The {what} does not exist, has expired, or is not yours.")


class UnknownService(BadInput):
    """The console has no service with this number; it has `count` of them, from 0."""

    status = 404
    reason = "not_found"

    def __init__(self, number: int, count: int) -> None:
        known = "none" if count == 0 else "only number 0" if count == 1 else f"0 to {count - 1}"
        super().__init__(f"There is no service {number}: this console has {known}. See --service.")


class IdempotencyConflict(BadInput):
    """The X-Request-Id is that of another request of this caller, with a different body."""

    status = 409
    reason = "request_id_conflict"

    def __init__(self) -> None:
        super().__init__(
            "X-Request-Id is the id of another request of yours, with a different body or other "
            "parameters. Send a new id for a new request."
        )


class CannotSleep(BadInput):
    """The model can only fall asleep when it is loaded and no request waits or runs."""

    status = 409
    reason = "cannot_sleep"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why} A model falls asleep only when it is loaded and idle. Retry later, or let it "
            "sleep by itself (SAFELIGHT_SLEEP_AFTER_SECONDS)."
        )


class RolloutConflict(BadInput):
    """The rollout or the second model is not in a state in which this is possible."""

    status = 409
    reason = "rollout_conflict"


class Unauthorized(BadInput):
    """The API key is missing or unknown."""

    status = 401
    reason = "unauthorized"

    def __init__(self) -> None:
        super().__init__("A valid API key is required. Send `Authorization: Bearer <key>`.")


class Forbidden(BadInput):
    """The API key has no scope that the route accepts."""

    status = 403
    reason = "forbidden"

    def __init__(self, name: str, scopes: Sequence[str]) -> None:
        super().__init__(
            f"The API key {name} may not do this: it has no scope {' or '.join(scopes)}. Send a "
            "key that has it, or ask the operator to add the scope (safelight key --scope)."
        )


class ForeignPage(BadInput):
    """A web page of another origin, or under a host name that is not the service's, sent it."""

    status = 403
    reason = "foreign_page"


class Unavailable(SafelightError):
    """The request is valid but cannot be served now."""

    status = 503
    reason = "overloaded"


class NotReady(Unavailable):
    """The model is still loading, or something else that the message names."""

    reason = "not_ready"
    retry_after_seconds = 5.0

    def __init__(self, message: str = "") -> None:
        super().__init__(message or "The model is still loading. Retry when /readyz returns 200.")


class Stopping(Unavailable):
    """The service is stopping and accepts no more requests."""

    reason = "stopping"
    retry_after_seconds = 1.0

    def __init__(self) -> None:
        super().__init__("The service is stopping. Send the request to another instance.")


class Overloaded(Unavailable):
    """There is more work than the service can do in time; the message names the limit."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class RateLimited(Unavailable):
    """The caller exceeds its rate limit."""

    status = 429
    reason = "rate_limited"

    def __init__(self, per_minute: float, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"The limit is {per_minute:g} requests per minute. Send fewer, or ask the operator to "
            "raise SAFELIGHT_RATE_LIMIT_PER_MINUTE."
        )


class CircuitOpen(Unavailable):
    """The model failed repeatedly, so the circuit breaker stops its requests for a while."""

    reason = "circuit_open"

    def __init__(self, failures: int, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"The model failed {failures} times in a row, so its requests are stopped for a while. "
            f"Retry in {max(1.0, retry_after_seconds):.0f} seconds. The service's log has the "
            "failures."
        )


class WorkerLost(Unavailable):
    """The worker process ended during the request."""

    reason = "worker_lost"
    retry_after_seconds = 10.0

    def __init__(self) -> None:
        super().__init__("The worker process ended during this request. Send it again.")


class Timeout(Unavailable):
    """The deadline passed before the response was ready."""

    status = 504
    reason = "timeout"

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(
            f"The response was not ready within {limit_seconds:g} seconds. "
            "Use fewer steps or a smaller image, or allow more time with the X-Request-Timeout "
            "header or SAFELIGHT_REQUEST_TIMEOUT_SECONDS."
        )


class Cancelled(Unavailable):
    """The caller disconnected or cancelled before the response was ready."""

    status = 499
    reason = "cancelled"

    def __init__(self) -> None:
        super().__init__("The request was cancelled before the response was ready.")


class ModelFailure(SafelightError):
    """The model failed during the request."""

    reason = "model_error"


class OutOfMemory(ModelFailure):
    """The device ran out of memory."""

    status = 503
    reason = "cuda_oom"

    def __init__(self, advice: str = "Send a smaller image, or fewer at once.") -> None:
        super().__init__(f"The device ran out of memory. {advice}")


class HostOutOfMemory(ModelFailure):
    """The host ran out of memory: the model runs on the CPU, or its input does not fit."""

    status = 503
    reason = "host_oom"

    def __init__(self, advice: str = "Send a smaller image, or fewer at once.") -> None:
        super().__init__(f"The host ran out of memory. {advice}")


class InvalidOutput(ModelFailure):
    """The model's output is not a usable image."""

    status = 502
    reason = "invalid_output"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The model's image is not usable ({what.replace('_', ' ')}). "
            "Try another seed or instruction."
        )


class StructureCorruption(ModelFailure):
    """The edit destroyed what it should have kept; the image is sent with a warning."""

    status = 200
    reason = "structure_corruption"

    def __init__(self, kept: float, floor: float) -> None:
        super().__init__(
            f"The edit kept {share(kept)} of the image; the minimum for this instruction type is "
            f"{share(floor)}. Try another seed, or a higher image_guidance_scale."
        )


class ModelError(ModelFailure):
    """The model raised an exception."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"The model failed with {kind}. The service's log has the details.")


class InternalError(SafelightError):
    """The service failed unexpectedly; its log has the details."""

    def __init__(self) -> None:
        super().__init__("The service failed unexpectedly. Its log has the details.")


class Unusable(SafelightError):
    """A requirement is missing or wrong, so the command cannot work."""

    exit_code = 2


class BadSetting(Unusable):
    """A setting, or a file that a setting names, is invalid."""


class MissingExtra(Unusable):
    """A library of an optional extra is not installed."""

    exit_code = 3

    def __init__(self, extra: str, *libraries: str) -> None:
        *others, last = libraries
        needed = f"{', '.join(others)} and {last}" if others else last
        super().__init__(f"This needs {needed}. Run: pip install 'safelight[{extra}]'")


class MissingProgram(Unusable):
    """A program that the command runs is not installed."""

    exit_code = 3

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"{program} is not installed. On Debian run: apt-get install {package}; "
            "elsewhere see https://prometheus.io/download."
        )


class ModelNotFound(Unusable):
    """The model is neither a folder, a bundled demo nor a reachable hub id."""

    exit_code = 3

    def __init__(self, model: str, cause: str) -> None:
        super().__init__(
            f"The model {model[:100]!r} could not be loaded: {cause} "
            "Give a hub id, a demo such as demo-edit, or a folder with model_index.json or "
            "config.json."
        )


class ModelTooLarge(Unusable):
    """The model's weights do not fit into the memory that its device has free."""

    exit_code = 3

    def __init__(self, model: str, needed: str, there_is: str, remedies: str) -> None:
        super().__init__(
            f"The model {model[:100]!r} does not fit: {needed}, and {there_is}. {remedies} "
            "(SAFELIGHT_ATTENTION_SLICING and SAFELIGHT_VAE_TILING save memory while a request "
            "runs, none of the weights.)"
        )


class PortTaken(Unusable):
    """Another program uses the port of a service."""

    exit_code = 3

    def __init__(self, service: str, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host} for {service} is already in use. "
            "Stop the program that uses it, or choose another port (safelight up --help)."
        )


class RecordsUnusable(Unusable):
    """The records database cannot be used, or has no such service."""

    exit_code = 3


class ServiceFailed(Unusable):
    """A service did not start, stopped, or does not respond as expected."""

    exit_code = 1


class MonitoringFailed(Unusable):
    """Prometheus cannot be queried, or its response cannot be used."""

    exit_code = 3


class MonitoringAbsent(MonitoringFailed):
    """No Prometheus answers at `address`, which has no password."""

    def __init__(self, message: str, address: str) -> None:
        super().__init__(message)
        self.address = address


class AlreadyWatched(Unusable):
    """The object already has a probe."""

    def __init__(self, what: str) -> None:
        super().__init__(f"This {what} is already watched. Call .unwatch() on the first watch.")


def listen_error(service: str, host: str, port: int, error: OSError) -> Unusable:
    """Return the error of a failed bind: PortTaken, or BadSetting for a wrong address."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(service, host, port)
    return BadSetting(
        f"{service} cannot listen on {host}:{port}: {error.strerror}. "
        "Choose another address (--host) or port."
    )
