"""Every knob, once: its name, default, bounds and one sentence. Nobody else reads the environment.

A value comes from the command line, else from SAFELIGHT_<NAME> in the environment, else from the
TOML file that SAFELIGHT_CONFIG names, else from the default below.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from safelight.errors import BadSetting
from safelight.namespace import MAX_LENGTH, PATTERN, checked

_PREFIX = "SAFELIGHT_"


class Settings(BaseSettings):
    """What an operator may choose."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="forbid", loc_by_alias=False
    )

    model: str = Field("demo-edit", description="Hub id, local folder, or bundled demo to serve.")
    namespace: str = Field(
        "instructpix2pix",
        pattern=PATTERN,
        max_length=MAX_LENGTH,
        description="Prefix of the service's metrics.",
    )
    devices: str = Field(
        "auto",
        pattern=r"^(auto|(cpu|cuda(:\d+)?)(,(cpu|cuda(:\d+)?)){0,63})$",
        description="Where the model runs, one worker each: auto, or such as cuda:0,cuda:1.",
    )
    isolation: Literal["process", "thread"] = Field(
        "process", description="What a worker is: a process, or a thread inside another server."
    )
    precision: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto", description="Number format of the weights; auto is float16 on CUDA, else float32."
    )
    compile: bool = Field(
        default=False, description="Compile the model's steps with torch.compile."
    )
    attention_slicing: bool = Field(
        default=False, description="Work out attention in slices: slower, with less memory."
    )
    vae_tiling: bool = Field(
        default=False, description="Encode and decode images in tiles: less memory for large ones."
    )
    allow_pickle: bool = Field(
        default=False, description="Load weights that are pickles, which can run anything."
    )
    warm_up: bool = Field(
        default=True, description="Make one thing that nobody sees before the first request."
    )
    tags: Path | None = Field(
        None, description="Text file, a tag a line, that a zero-shot model is to recognise."
    )
    host: str = Field("127.0.0.1", description="Address that every service binds to.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    prometheus_port: int = Field(9090, ge=1, le=65535, description="Port of Prometheus.")
    alertmanager_port: int = Field(9093, ge=1, le=65535, description="Port of Alertmanager.")
    node_exporter_port: int = Field(9100, ge=1, le=65535, description="Port of node-exporter.")
    alert_relay_port: int = Field(9094, ge=1, le=65535, description="Port of the alert relay.")
    monitoring: Path | None = Field(
        None, description="TOML file that says who is told of alerts; none tells nobody."
    )
    grafana_port: int = Field(3000, ge=1, le=65535, description="Port of Grafana.")
    gpu_exporter_port: int = Field(9400, ge=1, le=65535, description="Port of the GPU exporter.")
    retention: str = Field(
        "32d",
        pattern=r"^[1-9]\d{0,4}[hdwy]$",
        description="How long Prometheus keeps data: 12h, 32d, 1y; objectives look back 30 days.",
    )
    grafana_token_file: Path | None = Field(
        None, description="File with a service account's token, for `safelight grafana`."
    )

    allow_anonymous: bool = Field(
        default=False,
        description="Serve callers without a key on other addresses than 127.0.0.1 too.",
    )
    api_keys: str = Field(
        "",
        pattern=r"^([\w.-]+=[0-9a-f]{64}(,[\w.-]+=[0-9a-f]{64})*)?$",
        repr=False,
        description="Who may call: name=hash, by commas (`safelight key` makes one); none is all.",
    )
    rate_limit_per_minute: float = Field(
        0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Requests a minute that one key or address may send; 0 is no limit.",
    )

    queue_limit: int = Field(
        64, ge=1, le=100_000, description="Requests that may wait before one is refused."
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
        description="Requests that may wait or run at once; MAX_CONCURRENT_REQUESTS sets it too.",
    )
    request_timeout_seconds: float = Field(
        120.0, gt=0, le=3600, description="Longest time from arrival to answer."
    )
    request_timeout_limit_seconds: float = Field(
        600.0, gt=0, le=3600, description="Most that a caller may ask for by X-Request-Timeout."
    )
    batch_limit: int = Field(
        32, ge=1, le=1024, description="Most requests that the model makes at once."
    )
    breaker_failures: int = Field(
        5, ge=1, le=1000, description="Model failures in a row after which it is left alone."
    )
    breaker_rest_seconds: float = Field(
        15.0, gt=0, le=3600, description="Time it is left alone before one request tries it."
    )
    degradation_level: int | None = Field(
        None, ge=0, le=5, description="Rungs of the ladder in force, pinned; none is by itself."
    )
    degradation_limit: int = Field(
        5, ge=0, le=5, description="Most rungs of the ladder that may come into force."
    )
    degradation_dwell_seconds: float = Field(
        10.0, gt=0, le=3600, description="Shortest time between two rungs, up or down."
    )
    vram_limit_ratio: float = Field(
        0.8, gt=0, le=1, description="Share of the card's memory above which less is admitted."
    )
    latency_limit_seconds: float = Field(
        1.0, gt=0, le=3600, description="Time of a batch above which batches are halved."
    )
    backlog_limit_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Work waiting, as share of the request timeout, above which quality gives way.",
    )
    preview_every_steps: int = Field(
        0, ge=0, le=1000, description="Steps between two previews in a request's events; 0 is none."
    )
    body_limit_bytes: int = Field(
        20 * 1024 * 1024, ge=1024, le=1 << 30, description="Largest request body."
    )
    image_limit_pixels: int = Field(
        40_000_000, ge=64 * 64, le=1_000_000_000, description="Most pixels of an input image."
    )
    image_side_pixels: int | None = Field(
        None,
        ge=64,
        le=8192,
        description="Longest side the model works at; larger images are reduced. Unset: its own.",
    )
    black_level: int = Field(
        8,
        ge=0,
        le=254,
        description="An image without a pixel brighter than this, of 255, is black.",
    )
    flat_deviation: float = Field(
        1.0,
        ge=0,
        le=100,
        description="An image whose grey levels deviate by less than this is flat.",
    )
    noise_correlation: float = Field(
        0.25,
        ge=0,
        le=0.9,
        description="An image whose neighbouring pixels correlate less is noise; 0 looks for none.",
    )
    structure_floor: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share that an edit must keep, where its type says nothing; 0 never looks.",
    )
    background_entropy_limit_bits: float = Field(
        6.5,
        ge=0,
        le=12,
        description="Entropy of a background above which its caller is advised to remove it.",
    )
    quality_sample_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the pictures made that are looked at closer once they were sent.",
    )
    clip_model: str = Field(
        "",
        max_length=1000,
        description="CLIP, by hub id or folder, that tells how pictures fit; demos have their own.",
    )
    instruction_limit: int = Field(
        1000, ge=1, le=10_000, description="Longest instruction, in characters."
    )
    step_limit: int = Field(100, ge=1, le=1000, description="Most denoising steps of one request.")
    taxonomy: Path | None = Field(
        None, description="YAML file that maps instructions to types; none is the built-in one."
    )

    gpu_interval_seconds: float = Field(
        5.0, gt=0, le=300, description="Time between two readings of the cards and their memory."
    )
    host_interval_seconds: float = Field(
        10.0, gt=0, le=300, description="Time between two readings of the machine."
    )
    grace_seconds: float = Field(
        20.0, ge=0, le=600, description="Time that running requests get when the service stops."
    )
    hang_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Time without a step or an answer after which a worker is taken for hung.",
    )
    restart_limit: int = Field(
        5, ge=0, le=1000, description="Restarts in a row of one worker or service before giving up."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="Log lines: json is ECS; auto is text on a terminal, else json."
    )
    state_folder: Path = Field(
        Path(".state"), description="Where `safelight up` keeps Prometheus' data and the logs."
    )

    records_url: str | None = Field(
        None,
        pattern=r"^(|sqlite:///.+|postgresql://.+)$",
        repr=False,
        description="Database of the records, sqlite:///FILE or postgresql://USER@HOST/NAME; "
        "unset it is records.db in the state folder, empty keeps none.",
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
        default=False, description="Keep prompts with the records; else a salted hash is kept."
    )
    samples: bool = Field(
        default=False,
        description="Keep thumbnails of inputs and outputs, good and failed, with the records.",
    )
    samples_per_type: int = Field(
        20,
        ge=1,
        le=1000,
        description="Samples kept of each instruction type, as many of good as of failed requests.",
    )
    rating_retention_seconds: float = Field(
        86_400.0,
        gt=0,
        le=30 * 86_400,
        allow_inf_nan=False,
        description="Time after its answer in which a request may be rated.",
    )

    @field_validator("namespace")
    @classmethod
    def _namespace_is_free(cls, value: str) -> str:
        return checked(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the command line before the environment before the file."""
        file = os.environ.get(f"{_PREFIX}CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, *toml)


def load(**chosen: Any) -> Settings:
    """Return the settings; values of None in `chosen` count as not given.

    Raises BadSetting with one line per wrong value.
    """
    _check_config_file()
    try:
        return Settings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as wrong:
        raise BadSetting("; ".join(_explain(error) for error in wrong.errors())) from None
    except ValueError as wrong:  # a TOML file that does not parse
        raise BadSetting(f"{_PREFIX}CONFIG cannot be read: {wrong}.") from None


def environment_name(field: str) -> str:
    """Return the environment variable that sets a field."""
    return _PREFIX + field.upper()


def program_environment(
    defaults: Mapping[str, str] | None = None, /, **extra: str
) -> dict[str, str]:
    """Return this process's environment, for a child process.

    `extra` goes before what is set there, and that before `defaults`.
    """
    return {**(defaults or {}), **os.environ, **extra}


def plain_output() -> bool:
    """Tell whether colours are unwanted (NO_COLOR, https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def _check_config_file() -> None:
    file = os.environ.get(f"{_PREFIX}CONFIG")
    if file and not Path(file).is_file():
        raise BadSetting(f"{_PREFIX}CONFIG names {file!r}, which is no file.")


def _explain(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    return f"{environment_name(name)}: {message}, got {str(error['input'])[:60]!r}"
