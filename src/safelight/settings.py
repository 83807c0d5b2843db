"""All settings with default, limits and description. Only this module reads the environment.

A value comes from the command line, else from SAFELIGHT_<NAME> in the environment, else from the
TOML file that SAFELIGHT_CONFIG names, else from the default below.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from safelight.errors import BadSetting
from safelight.namespace import checked
from safelight.renamed import find, with_new_names

_PREFIX = "SAFELIGHT_"
_PEER = r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]*)?"
_PEERS = re.compile(rf"({_PEER}(,{_PEER})*)?")
_LOGIN = re.compile(r"^(\w+://)?.*@", re.DOTALL)  # in an address
_BEFORE_HOST = re.compile(r"^[\w+]+://([^:/]*(:[^@]*)?@)?")  # as SQLAlchemy reads an address
_LAST_PORT = 65535
SCOPES = ("infer", "rate", "view", "operate")  # of an API key
_SCOPE = f"({'|'.join(SCOPES)})"
KEY = rf"[\w.-]+(:{_SCOPE}(\+{_SCOPE}){{0,3}})?=[0-9a-f]{{64}}"
# What can be reached without a key, unless `protected_pages` names it.
PAGES = {"metrics": "/metrics", "docs": "/docs", "openapi": "/openapi.json", "models": "/v1/models"}
_PAGE = f"({'|'.join(PAGES)})"


class Settings(BaseSettings):
    """The settings of Safelight."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="forbid", loc_by_alias=False
    )

    model: str = Field(
        "demo-edit",
        description="Hub id, local folder, bundled demo, or your own package.module:name.",
    )
    namespace: str = Field(
        "instructpix2pix",
        description="Prefix of the service's metrics: at most 40 small letters, digits and single "
        "underscores.",
    )
    devices: str = Field(
        "auto",
        pattern=r"^(auto|(cpu|cuda(:\d+)?)(,(cpu|cuda(:\d+)?)){0,63})$",
        description="Devices of the model, one worker each: auto, or for example cuda:0,cuda:1.",
    )
    isolation: Literal["process", "thread"] = Field(
        "process", description="Run a worker as a process, or as a thread inside another server."
    )
    precision: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto", description="Number format of the weights; auto is float16 on CUDA, else float32."
    )
    compile: bool = Field(
        default=False, description="Compile the model's steps with torch.compile."
    )
    attention_slicing: bool = Field(
        default=False, description="Compute attention in slices: slower, with less memory."
    )
    vae_tiling: bool = Field(
        default=False,
        description="Encode and decode images in tiles: less memory if they are large.",
    )
    allow_pickle: bool = Field(
        default=False, description="Load pickled weights, which can run any code."
    )
    warm_up: bool = Field(default=True, description="Run the model once before the first request.")
    tags: Path | None = Field(
        None, description="Text file with one tag per line for a zero-shot model to recognise."
    )
    host: str = Field("127.0.0.1", description="Address to bind to.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    console_port: int = Field(8001, ge=1, le=65535, description="Port of the console.")
    prometheus_port: int = Field(9090, ge=1, le=65535, description="Port of Prometheus.")
    alertmanager_port: int = Field(9093, ge=1, le=65535, description="Port of Alertmanager.")
    node_exporter_port: int = Field(9100, ge=1, le=65535, description="Port of node-exporter.")
    alert_relay_port: int = Field(9094, ge=1, le=65535, description="Port of the alert relay.")
    monitoring: Path | None = Field(None, description="TOML file with alert limits and receivers.")
    grafana_port: int = Field(3000, ge=1, le=65535, description="Port of Grafana.")
    gpu_exporter_port: int = Field(9400, ge=1, le=65535, description="Port of the GPU exporter.")
    retention: str = Field(
        "32d",
        pattern=r"^[1-9]\d{0,4}[hdwy]$",
        description="How long Prometheus keeps data: 12h, 32d, 1y. SLOs need 30 days.",
    )
    grafana_token_file: Path | None = Field(
        None, description="File with a Grafana service account token, for `safelight grafana`."
    )

    tls_certificate: Path | None = Field(
        None,
        description="PEM file with the certificate chain of the API or the relay, for https; "
        "needs tls_key.",
    )
    tls_key: Path | None = Field(
        None, description="PEM file with the certificate's private key, without a password."
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[\w.~-]+)*$",
        max_length=200,
        description="Path prefix that a reverse proxy removes before it forwards a request.",
    )
    forwarded_allow_ips: str = Field(
        "127.0.0.1,::1",
        description="Addresses and networks of reverse proxies whose X-Forwarded headers are used, "
        "comma-separated, or *; empty: none.",
    )
    peers: str = Field(
        "",
        max_length=4000,
        description="Addresses http(s)://HOST[:PORT] whose names lead to all instances of this "
        "service, comma-separated; an instance asks the others for what it does not have.",
    )
    cors_origins: str = Field(
        "",
        pattern=r"^(\*|https?://[^\s,/*]+(,https?://[^\s,/*]+)*)?$",
        description="Origins whose web pages may call the API, comma-separated, or *; empty: none.",
    )
    allowed_hosts: str = Field(
        "",
        pattern=r"^(\*|[\w.-]+(,[\w.-]+)*)?$",
        description="Host names that lead callers to the service, comma-separated, or *; empty: "
        "those of this machine on 127.0.0.1, all on other addresses.",
    )
    relay_token_file: Path | None = Field(
        None,
        description="File with the token that Alertmanager sends to the alert relay; unset: none.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Accept callers without an API key on addresses other than 127.0.0.1.",
    )
    api_keys: str = Field(
        "",
        pattern=rf"^({KEY}(,{KEY})*)?$",
        repr=False,
        description="API keys as name=hash or name:scope+scope=hash, comma-separated (see "
        "`safelight key`); empty allows all callers.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File with API keys, one a line, which is read again when it changes: to "
        "revoke a key, remove its line.",
    )
    protected_pages: str = Field(
        "",
        pattern=rf"^({_PAGE}(,{_PAGE})*)?$",
        description="Pages that need an API key too, comma-separated: metrics, docs, openapi, "
        "models. Needs API keys.",
    )
    metrics_key_file: Path | None = Field(
        None,
        description="File with the API key that Prometheus sends to read protected metrics, for "
        "`safelight up` and the exported configurations.",
    )
    rate_limit_per_minute: float = Field(
        0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Requests per minute for each API key or address; `n` images count as n; "
        "0 is no limit.",
    )

    connection_limit: int = Field(
        1000, ge=1, le=100_000, description="Maximum number of open connections."
    )
    connections_per_address: int = Field(
        256,
        ge=1,
        le=100_000,
        description="Maximum number of connections from one address that is not a reverse proxy "
        "of forwarded_allow_ips.",
    )
    header_seconds: float = Field(
        10.0, gt=0, le=3600, description="Time in which the headers of a request must arrive."
    )
    header_limit: int = Field(
        100, ge=10, le=10_000, description="Maximum number of headers of a request."
    )
    header_limit_bytes: int = Field(
        32 * 1024, ge=1024, le=1024**2, description="Largest headers of a request, in total."
    )
    keep_alive_seconds: int = Field(
        65,
        ge=1,
        le=3600,
        description="Time after which a connection without a request is closed; longer than "
        "reverse proxies keep theirs.",
    )
    client_idle_seconds: float = Field(
        20.0,
        gt=0,
        le=3600,
        description="Time after which a connection is closed if its caller sends nothing of an "
        "unfinished body, or reads nothing of a response.",
    )
    pipeline_limit: int = Field(
        16, ge=1, le=1000, description="Requests that may wait on one connection."
    )
    write_buffer_bytes: int = Field(
        64 * 1024, ge=1024, le=1 << 30, description="Unread bytes above which a response waits."
    )
    uploads_limit_bytes: int = Field(
        256 * 1024**2,
        ge=1024**2,
        le=1 << 40,
        description="Bytes of all request bodies that the service holds; one caller may hold half "
        "of them.",
    )
    upload_bytes_per_second: int = Field(
        50_000_000,
        ge=0,
        le=1 << 40,
        description="Bytes of large bodies that one caller may send in a second while others call; "
        "0 is no limit.",
    )

    queue_limit: int = Field(
        64, ge=1, le=100_000, description="Maximum number of waiting requests."
    )
    max_concurrent_requests: int | None = Field(
        None,
        ge=1,
        le=100_000,
        validation_alias=AliasChoices(
            f"{_PREFIX}MAX_CONCURRENT_REQUESTS",
            "MAX_CONCURRENT_REQUESTS",
            "max_concurrent_requests",
        ),
        description="Maximum number of waiting and running requests; "
        "MAX_CONCURRENT_REQUESTS sets it too.",
    )
    request_timeout_seconds: float = Field(
        120.0, gt=0, le=3600, description="Longest time from arrival to response."
    )
    request_timeout_limit_seconds: float = Field(
        600.0, gt=0, le=3600, description="Longest timeout that X-Request-Timeout may set."
    )
    batch_limit: int = Field(
        32, ge=1, le=1024, description="Maximum number of requests in one batch."
    )
    breaker_failures: int = Field(
        5,
        ge=1,
        le=1000,
        description="Model failures in a row that open the circuit breaker; 1 works as 2.",
    )
    breaker_rest_seconds: float = Field(
        15.0, gt=0, le=3600, description="Time until the open circuit breaker tries one request."
    )
    degradation_level: int | None = Field(
        None,
        ge=0,
        le=5,
        description="Degradation level, 0: full quality; unset: the service chooses.",
    )
    degradation_limit: int = Field(5, ge=0, le=5, description="Highest degradation level.")
    degradation_dwell_seconds: float = Field(
        10.0, gt=0, le=3600, description="Shortest time between two changes of the level."
    )
    vram_limit_ratio: float = Field(
        0.8, gt=0, le=1, description="Share of GPU memory above which the service degrades."
    )
    latency_limit_seconds: float = Field(
        1.0, gt=0, le=3600, description="Time of a batch above which the service degrades."
    )
    backlog_limit_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Waiting work, as a share of the request timeout, above which the service "
        "degrades.",
    )
    shadow: str = Field(
        "",
        max_length=1000,
        description="Second model B: a share of the requests is copied to it and compared, and a "
        "rollout can give it to callers. Empty: none.",
    )
    shadow_precision: Literal["", "auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "", description="Number format of the second model; empty: that of the first."
    )
    shadow_steps: int = Field(
        0, ge=0, le=1000, description="Denoising steps of the second model; 0: as requested."
    )
    shadow_compile: bool = Field(
        default=False, description="Compile the second model's steps with torch.compile."
    )
    shadow_devices: str = Field(
        "",
        pattern=r"^(|(cpu|cuda(:\d+)?)(,(cpu|cuda(:\d+)?)){0,63})$",
        description="Devices of the second model; empty: the first device of the first, whose idle "
        "time it uses.",
    )
    shadow_ratio: float = Field(
        0.1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of requests that are copied to the second model after their answer.",
    )
    shadow_pairs: int = Field(
        500, ge=20, le=100_000, description="Pairs after which an undecided comparison ends."
    )
    shadow_seconds_per_hour: float = Field(
        36.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Device seconds of each hour that copies may take; 0: nothing is copied.",
    )
    preview_every_steps: int = Field(
        0, ge=0, le=1000, description="Steps between previews in a request's events; 0 is none."
    )
    body_limit_bytes: int = Field(
        20 * 1024 * 1024, ge=1024, le=1 << 30, description="Largest request body."
    )
    image_limit_pixels: int = Field(
        40_000_000, ge=64 * 64, le=1_000_000_000, description="Largest input image, in pixels."
    )
    image_side_pixels: int | None = Field(
        None,
        ge=64,
        le=8192,
        description="Longest side of an input image; larger ones are scaled down. "
        "Unset: the model's own.",
    )
    black_level: int = Field(
        8, ge=0, le=254, description="An image is black if no pixel is brighter than this (of 255)."
    )
    flat_deviation: float = Field(
        1.0,
        ge=0,
        le=100,
        description="An image is flat if the standard deviation of its grey levels is lower.",
    )
    noise_correlation: float = Field(
        0.25,
        ge=0,
        le=0.9,
        description="An image is noise if neighbouring pixels correlate less; 0 disables this.",
    )
    structure_floor: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of an image that an edit must keep if its type has no own value; "
        "0 disables the check.",
    )
    background_entropy_limit_bits: float = Field(
        6.5,
        ge=0,
        le=12,
        description="Background entropy above which the response advises to remove the background.",
    )
    quality_sample_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of output images that are assessed after the response, and of every "
        "type and setting the first 12. 0 disables both.",
    )
    clip_model: str = Field(
        "",
        max_length=1000,
        description="Hub id or folder of a CLIP model that scores prompt adherence. "
        "Demos have their own.",
    )
    instruction_limit: int = Field(
        1000, ge=1, le=10_000, description="Longest instruction, in characters."
    )
    step_limit: int = Field(
        100, ge=1, le=1000, description="Maximum number of denoising steps of one request."
    )
    taxonomy: Path | None = Field(
        None, description="YAML file that maps instructions to types. Default: the built-in one."
    )

    gpu_interval_seconds: float = Field(
        5.0, gt=0, le=300, description="Time between two readings of the GPUs."
    )
    host_interval_seconds: float = Field(
        10.0, gt=0, le=300, description="Time between two readings of the machine."
    )
    gpu_hour_price: float | None = Field(
        None, gt=0, le=1e6, allow_inf_nan=False, description="Price of an hour of one device."
    )
    grace_seconds: float = Field(
        20.0, ge=0, le=600, description="Time for running requests when the service stops."
    )
    hang_seconds: float = Field(
        60.0, gt=0, le=3600, description="Time without a sign of life before a worker is hung."
    )
    canary_seconds: float = Field(
        60.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Time between two checks of the model with a golden input, when it is idle; "
        "0: never.",
    )
    canary_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the device's time that these checks may take; 0: none.",
    )
    canary_gate: bool = Field(
        default=True,
        description="Take a model that fails these checks out of service, unless it is the last.",
    )
    sleep_after_seconds: float = Field(
        0.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Time without a request after which the model leaves its device until the next "
        "request; 0: never.",
    )
    operator_key: str = Field(
        "",
        repr=False,
        description="API key that commands of operators, such as `safelight rollout`, send; scope "
        "operate.",
    )
    restart_limit: int = Field(
        5, ge=0, le=1000, description="Restarts in a row of one worker or service before giving up."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto",
        description="Log format. json: Elastic Common Schema; auto: text on a terminal, else json.",
    )
    log_output: str = Field(
        "stderr", min_length=1, description="Where log lines go: stderr, stdout, or a file."
    )
    log_file_bytes: int = Field(
        64 * 1024**2,
        ge=1024**2,
        le=1 << 40,
        description="Size at which a log file is renamed, and the next one begins.",
    )
    log_files: int = Field(4, ge=1, le=1000, description="Earlier log files that are kept.")
    log_private: bool = Field(
        default=False,
        description="Log exceptions and texts of other libraries in full; prompts may be in them.",
    )
    otlp_endpoint: str = Field(
        "",
        pattern=re.compile(r"^(?!.*/v1/(traces|metrics)/*$)(|https?://[^\s/?#]+(/[^\s?#]*)?)\Z"),
        description="Receiver of traces and metrics by OTLP: http://localhost:4318; empty: none.",
    )
    otlp_protocol: Literal["http/protobuf", "grpc"] = Field(
        "http/protobuf", description="Protocol of the receiver; ports 4318 and 4317 are usual."
    )
    trace_url: str = Field(
        "", pattern=r"^(|https?://\S+\{trace_id\}\S*)$", description="Page of trace {trace_id}."
    )
    otlp_traces: bool = Field(default=True, description="Send traces to otlp_endpoint.")
    otlp_metrics_seconds: int = Field(
        0, ge=0, le=3600, description="How often all metrics are sent to otlp_endpoint; 0: never."
    )
    otlp_temporality: Literal["cumulative", "delta"] = Field(
        "cumulative", description="Send counts since the start, or since the last time sent."
    )
    trace_ratio: float = Field(
        0.05, ge=0, le=1, allow_inf_nan=False, description="Share of ordinary traces to keep."
    )
    state_folder: Path = Field(
        Path(".state"), description="Folder for logs, records and Prometheus' data."
    )

    log_limit_bytes: int = Field(
        256 * 1024**2,
        ge=1024**2,
        le=1 << 40,
        description="Size of all logs of `safelight up` together, above which the oldest lines go.",
    )

    records_url: str | None = Field(
        None,
        pattern=r"^(|sqlite:///.+|postgresql://.+)$",
        repr=False,
        description="Database of the records: sqlite:///FILE or postgresql://USER@HOST/NAME. "
        "Unset: records.db in the state folder; empty: no records.",
    )
    records_retention_days: float = Field(
        30.0, gt=0, le=3650, allow_inf_nan=False, description="Age at which a record is deleted."
    )
    records_limit_bytes: int = Field(
        1024**3,
        ge=1024**2,
        le=1 << 44,
        description="Size of the records above which the oldest are deleted.",
    )
    store_prompts: bool = Field(
        default=False, description="Store prompts in the records, not only a salted hash."
    )
    samples: bool = Field(
        default=False, description="Store thumbnails of inputs and outputs in the records."
    )
    samples_per_type: int = Field(
        20,
        ge=1,
        le=1000,
        description="Samples of successful and of failed requests per instruction type.",
    )
    rating_retention_seconds: float = Field(
        86_400.0,
        gt=0,
        le=30 * 86_400,
        allow_inf_nan=False,
        description="Time after the response during which a request can be rated.",
    )

    @field_validator("namespace")
    @classmethod
    def _namespace_is_free(cls, value: str) -> str:
        return checked(value)

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _proxies_are_addresses(cls, value: str) -> str:
        if value not in ("", "*"):
            for each in value.split(","):
                ip_network(each.strip(), strict=False)  # raises ValueError with the address
        return value

    @field_validator("state_folder", "grafana_token_file")
    @classmethod
    def _home_exists(cls, value: Path | None) -> Path | None:
        try:
            return value and value.expanduser()
        except RuntimeError:
            raise ValueError("there is no such home folder") from None

    @field_validator("peers")
    @classmethod
    def _peers_are_addresses(cls, value: str) -> str:
        if not _PEERS.fullmatch(value):
            raise ValueError("write http(s)://HOST[:PORT], comma-separated")
        for each in value.split(","):
            port = each.rpartition(":")[2]
            if port.isdecimal() and int(port[:6]) > _LAST_PORT:
                raise ValueError(f"{port[:20]} is not a port")
        return value

    @field_validator("records_url")
    @classmethod
    def _port_is_a_number(cls, value: str | None) -> str | None:
        try:
            _ = urlsplit(f"//{_BEFORE_HOST.sub('', value or '')}").port
        except ValueError:
            raise ValueError(
                "write the port as a number up to 65535: postgresql://USER@HOST:5432/NAME"
            ) from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Set the order: command line, environment, file."""
        file = os.environ.get(f"{_PREFIX}CONFIG")
        toml = (_File(settings_cls, Path(file)),) if file else ()
        old = InitSettingsSource(settings_cls, with_new_names(_old_variables()))
        return (init_settings, env_settings, old, *toml)


class _File(TomlConfigSettingsSource):
    """The file of SAFELIGHT_CONFIG, which may have old names of settings."""

    def __call__(self) -> dict[str, Any]:
        return with_new_names(super().__call__())


def load(**chosen: Any) -> Settings:
    """Return the settings; values of None in `chosen` are ignored.

    Raises BadSetting that names every wrong value.
    """
    _check_config_file()
    try:
        return Settings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as failure:
        raise BadSetting("; ".join(_message(error) for error in failure.errors())) from None
    except ValueError as error:  # invalid TOML
        raise BadSetting(f"{_PREFIX}CONFIG cannot be read: {error}.") from None


def environment_name(field: str) -> str:
    """Return the environment variable that sets a field."""
    return _PREFIX + field.upper()


def renamed_settings() -> list[str]:
    """Return what became of each old name in the environment and in the file."""
    file = os.environ.get(f"{_PREFIX}CONFIG")
    names = [name.lower().removeprefix(_PREFIX.lower()) for name in _prefixed()]
    if file:
        with suppress(OSError, ValueError):  # `load` reports it
            names += tomllib.loads(Path(file).read_text())
    return [row.sentence for name in dict.fromkeys(names) if (row := find("setting", name))]


def program_environment(
    defaults: Mapping[str, str] | None = None, /, **extra: str
) -> dict[str, str]:
    """Return the environment for a child process.

    `extra` overrides this process's environment, which overrides `defaults`.
    """
    return {**(defaults or {}), **os.environ, **extra}


def plain_output() -> bool:
    """Return True if NO_COLOR is set (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def _check_config_file() -> None:
    file = os.environ.get(f"{_PREFIX}CONFIG")
    if file and not Path(file).is_file():
        raise BadSetting(f"{_PREFIX}CONFIG names {file!r}, which is not a file.")


def _prefixed() -> list[str]:
    return [name for name in sorted(os.environ) if name.upper().startswith(_PREFIX)]


def _old_variables() -> dict[str, object]:
    """Return the settings of the environment that have old names."""
    values = {name.lower().removeprefix(_PREFIX.lower()): os.environ[name] for name in _prefixed()}
    return {name: value for name, value in values.items() if _works(name)}


def _works(name: str) -> bool:
    row = find("setting", name)
    return row is not None and bool(row.new)


def _message(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    given = _LOGIN.sub(r"\1***@", str(error["input"]))[:60]
    return f"{environment_name(name)}: {message}, got {given!r}"
