"""Logging of a service process: every line is ECS JSON, or readable text on a terminal.

Lines of Safelight, libraries, warnings and uncaught exceptions have the same format. Prompts and
other data of callers are not logged, unless `log_private` allows it.
"""

import logging
import os
import sys
import threading
from importlib.metadata import version
from types import TracebackType
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from safelight.settings import Settings, environment_name, plain_output
from safelight.telemetry.ecs import Service, event_line, request_line
from safelight.telemetry.flood import Flood, Kind
from safelight.telemetry.log_events import LEFT_OUT, LOGGER, LOST, REQUEST, is_own
from safelight.telemetry.output import Output, Stream, output_of
from safelight.telemetry.private import error_fields, error_of, escaped, masked
from safelight.telemetry.record import Record, Sink
from safelight.telemetry.request_line import as_fields

LogFormat = Literal["auto", "text", "json"]


_LIBRARY_LEVEL = logging.WARNING
_TEXT = structlog.processors.TimeStamper(fmt="%H:%M:%S")
_SHOWN_CHARACTERS = 200
_NEVER_THINNED = (REQUEST, LEFT_OUT, LOST)  # each request has a line; the others tell numbers
# What a child process needs for the same logs, besides their format.
_PASSED_ON = ("namespace", "log_output", "log_file_bytes", "log_files", "log_private")
log = structlog.get_logger(LOGGER)


def _kind(record: logging.LogRecord) -> Kind:
    """Return the kind of a line; those of libraries are equal if only their arguments differ."""
    message = record.msg.get("event", record.msg) if isinstance(record.msg, dict) else record.msg
    return Kind(record.name, record.levelno, str(message))


class _Lines(logging.Handler):
    """Writes lines. One that cannot be written is counted, not raised; equal ones are thinned."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self.lost_and_told = 0
        self.flood = Flood()
        self.output: Output = Stream("stderr")
        self.as_json = False
        self.settings = Settings.model_construct()  # does not read the environment
        self.service: Service = {}  # what every line says of this process

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(self.flood.left_out())
        try:
            kind = _kind(record)
            is_exempt = kind.message in _NEVER_THINNED and is_own(kind.logger)
            if not is_exempt and not self.flood.admits(kind):
                return
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a wrong log call must not fail its caller
            self.lost += 1
        else:
            self._write(line)

    def write(self, line: str) -> None:
        """Write a line that is no LogRecord, under the only lock that there is: that of `emit`."""
        self.acquire()
        try:
            self._tell(self.flood.left_out())
            self._write(line)
        finally:
            self.release()

    def _write(self, line: str) -> None:
        try:
            self.output.write(line)
        except (OSError, ValueError):  # a full disk, or a closed stream
            self.lost += 1
            return
        if self.lost != self.lost_and_told:
            self._tell_lost()

    def _tell_lost(self) -> None:
        """Log how many lines were lost. If this line is lost too, the next one tells it."""
        told, self.lost_and_told = self.lost_and_told, self.lost  # before it, so that it ends
        log.warning(LOST, **{"safelight.lines": self.lost - told})
        if self.lost != self.lost_and_told:
            self.lost_and_told = told

    def close(self) -> None:
        self._tell(self.flood.left_out(at_the_end=True))
        super().close()

    def _tell(self, left_out: dict[Kind, int]) -> None:
        """Log how many lines were left out."""
        for kind, number in left_out.items():
            text = kind.message if is_own(kind.logger) else masked(kind.message)
            shown = text[:_SHOWN_CHARACTERS]
            log.warning(LEFT_OUT, **{"safelight.line": shown, "safelight.lines": number})


_LINES = _Lines()


def lines_lost() -> int:
    """Return how many log lines of this process could not be written."""
    return _LINES.lost


def configure_logging(log_format: LogFormat, settings: Settings | None = None) -> None:
    """Log to the output of the settings; `auto` is text on a terminal, else JSON.

    Also logs warnings and uncaught exceptions of all threads. Raises BadSetting if the output is a
    file that cannot be written.
    """
    _LINES.settings = settings or Settings.model_construct()
    _LINES.output = output_of(_LINES.settings)
    is_text = log_format == "text" or (log_format == "auto" and _LINES.output.is_terminal)
    _LINES.as_json = not is_text
    _LINES.service = {
        "service": {"name": _LINES.settings.namespace, "version": version("safelight")},
        "process": {"pid": os.getpid()},
    }
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
                _without_private,
                *([as_ecs] if _LINES.as_json else [_TEXT, _as_shown, _console()]),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [_LINES]
    root.setLevel(_LIBRARY_LEVEL)
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure


def log_environment() -> dict[str, str]:
    """Return the variables that give a child process the same logs."""
    if _LINES not in logging.getLogger().handlers:
        return {}
    values = {name: getattr(_LINES.settings, name) for name in _PASSED_ON}
    values["log_format"] = "json" if _LINES.as_json else "text"
    return {environment_name(name): str(value) for name, value in values.items()}


def route_library_loggers() -> None:
    """Remove the handlers that libraries have added to their loggers, such as diffusers'."""
    if _LINES not in logging.getLogger().handlers:
        return
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=_LINES.output.is_terminal and not plain_output())


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


def _without_private(_logger: object, _level: str, event: EventDict) -> EventDict:
    """Replace an exception by its fields, and hide what may belong to callers."""
    allowed = _LINES.settings.log_private
    event["event"] = str(event.get("event", ""))  # a call may give any value, or none
    if not allowed:
        if "error.message" in event:
            event["error.message"] = masked(str(event["error.message"]))
        if not is_own(event.get("logger", LOGGER)):
            event["event"] = masked(event["event"])
    error = error_of(event.pop("exc_info", None))
    if error is not None:
        event.update(error_fields(error, with_private=allowed))
    return event


def _as_shown(_logger: object, _level: str, event: EventDict) -> EventDict:
    """Escape control characters. A trace gets the name under which it is below the line.

    It is indented: no text of a caller in it begins where a line begins.
    """
    trace = event.pop("error.stack_trace", "")
    shown: EventDict = {
        escaped(name): escaped(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
    lines = [f"  {escaped(line)}" for line in trace.rstrip().split("\n")]
    return {**shown, "exception": "\n".join(lines)} if trace else shown


def as_ecs(_logger: object, level: str, event: EventDict) -> str:
    """Return an event as a line of ECS JSON (a structlog processor)."""
    return event_line(level, event, _LINES.service)


def log_sink() -> Sink:
    """Return a sink that writes a Record as one line, with ECS field names."""

    def write(record: Record) -> None:
        level = "info" if record.succeeded else "warning"
        if _LINES.as_json:  # every request pays for this line: ProcessorFormatter adds 18 µs
            _LINES.write(request_line(level, record, _LINES.service))
        else:
            getattr(log, level)(REQUEST, **as_fields(record))

    return write
