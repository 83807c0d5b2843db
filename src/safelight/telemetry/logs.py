"""Logging of a service process: every line is ECS JSON, or readable text on a terminal.

Lines of Safelight, libraries, warnings and uncaught exceptions have the same format. Prompts are
not logged.
"""

import logging
import sys
import threading
from datetime import UTC, datetime
from functools import cache, lru_cache
from time import time_ns
from traceback import format_exception
from types import TracebackType
from typing import Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor

from safelight.settings import plain_output
from safelight.telemetry.record import Record, Sink

LogFormat = Literal["auto", "text", "json"]


_ECS_VERSION = "1.6.0"
_LOGGER = "safelight"
_LIBRARY_LEVEL = logging.WARNING
_TEXT = structlog.processors.TimeStamper(fmt="%H:%M:%S")
log = structlog.get_logger(_LOGGER)


class _Lines(logging.Handler):
    """Writes lines to standard error. A line that cannot be written is counted, not raised."""

    lost = 0
    as_json = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a wrong log call must not fail its caller
            self.lost += 1
        else:
            self.write(line)

    def write(self, line: str) -> None:
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # a full disk, or a closed stream
            self.lost += 1


_LINES = _Lines()


def lines_lost() -> int:
    """Return how many log lines of this process could not be written."""
    return _LINES.lost


def configure_logging(log_format: LogFormat) -> None:
    """Log to standard error; `auto` is text on a terminal, else JSON.

    Also logs warnings and uncaught exceptions of all threads.
    """
    _LINES.as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    _LINES.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([as_ecs] if _LINES.as_json else [_TEXT, _console()]),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [_LINES]
    root.setLevel(_LIBRARY_LEVEL)
    logging.getLogger(_LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure


def log_environment() -> dict[str, str]:
    """Return the variables that give a child process the same log format."""
    if _LINES not in logging.getLogger().handlers:
        return {}
    return {"SAFELIGHT_LOG_FORMAT": "json" if _LINES.as_json else "text"}


def route_library_loggers() -> None:
    """Remove the handlers that libraries have added to their loggers, such as diffusers'."""
    if _LINES not in logging.getLogger().handlers:
        return
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


def _console() -> structlog.dev.ConsoleRenderer:
    # Not rich's tracebacks: they print local variables, and a prompt may be one.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not plain_output(),
        exception_formatter=structlog.dev.plain_traceback,
    )


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("uncaught exception", exc_info=error)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    log.error(failure.err_msg or "exception ignored", exc_info=failure.exc_value)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is None or isinstance(failure.exc_value, SystemExit):
        return
    name = failure.thread.name if failure.thread else "unknown"
    log.critical(
        "uncaught exception in a thread",
        exc_info=failure.exc_value,
        **{"process.thread.name": name},
    )


def as_ecs(_logger: object, level: str, event: EventDict) -> str:
    """Return an event as a line of ECS JSON (a structlog processor).

    Dotted names become nested objects. ecs_logging's StructlogFormatter writes the same, but needs
    ten times as long: a fifth of the time of a small request.
    """
    seconds, milliseconds = divmod(time_ns() // 1_000_000, 1000)
    line: dict[str, object] = {
        "@timestamp": f"{_second(seconds)}.{milliseconds:03}Z",
        "log.level": event.pop("level", level),
        "log.logger": event.pop("logger", _LOGGER),
        "message": event.pop("event", ""),
        "ecs.version": _ECS_VERSION,
    }
    if "exc_info" in event:
        event.update(_exception_fields(event.pop("exc_info")))
    for name, value in event.items():
        *path, last = _parts(name)
        parent = line
        for part in path:
            child = parent.setdefault(part, {})
            if not isinstance(child, dict):  # `error` beside `error.type`: keep the dotted name
                parent, last = line, name
                break
            parent = child
        parent[last] = value
    return orjson.dumps(line, default=str).decode()


def _exception_fields(exc_info: object) -> dict[str, str]:
    """Return the ECS fields of an exception, from any value that `exc_info` may have."""
    error = exc_info if isinstance(exc_info, BaseException) else None
    if isinstance(exc_info, tuple):
        error = exc_info[1]
    elif exc_info and error is None:
        error = sys.exc_info()[1]
    if error is None:
        return {}
    return {
        "error.type": type(error).__name__,
        "error.message": str(error),
        "error.stack_trace": "".join(format_exception(error)),
    }


@lru_cache(1)
def _second(seconds: int) -> str:
    """Return a Unix time as text. The lines of one second share it: it takes 2 µs."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@cache
def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def log_sink() -> Sink:
    """Return a sink that writes a Record as one line, with ECS field names."""

    def write(record: Record) -> None:
        level = "info" if record.succeeded else "warning"
        fields = as_fields(record)
        if _LINES.as_json:  # every request pays for this line: ProcessorFormatter adds 18 µs
            _LINES.write(as_ecs(log, level, {"event": "request", **fields}))
        else:
            getattr(log, level)("request", **fields)

    return write


def as_fields(record: Record) -> dict[str, object]:
    """Return a Record's fields under ECS names; other fields are below `safelight`."""
    facts = record.facts
    fields: dict[str, object] = {
        "http.request.id": facts.id,
        "http.response.status_code": record.status_code,
        "url.path": record.endpoint,
        "event.duration": round(record.seconds * 1e9),
        "event.outcome": "success" if record.succeeded else "failure",
        "safelight.instruction_type": facts.instruction_type,
        "safelight.stages_ms": {stage: round(s * 1e3, 3) for stage, s in record.stages.items()},
    }
    if not record.succeeded:
        fields["error.type"] = record.error
    if facts.key:
        fields["safelight.caller_request_id"] = facts.key
    if facts.trace_id:
        fields["trace.id"] = facts.trace_id
    if facts.seed is not None:
        fields["safelight.seed"] = facts.seed
    if facts.background_entropy is not None:
        fields["safelight.background_entropy"] = round(facts.background_entropy, 2)
    if facts.calls:
        fields["safelight.model"] = _call_fields(record)
    return fields


def _call_fields(record: Record) -> dict[str, object]:
    """Return how the last call read the prompt (requirement P17)."""
    call = record.facts.calls[-1]
    return {
        "pipeline": call.pipeline,
        "precision": call.precision,
        "batch": call.batch,
        "steps_asked": call.steps_asked,
        "steps": len(call.step_seconds),
        "guidance_asked": call.guidance_asked,
        "guidance_in_force": call.guidance_in_force,
        "image_guidance_asked": call.image_guidance_asked,
        "image_guidance_in_force": call.image_guidance_in_force,
        "negative_prompt": call.negative_prompt,
        "images": [f"{width}x{height}" for width, height in call.images],
    }
