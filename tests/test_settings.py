from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from safelight.errors import BadSetting
from safelight.settings import Settings, environment_name, load, plain_output, program_environment

# Any text is a valid model, host or path until it is used.
FREE = {"model", "host", "taxonomy", "tags", "monitoring", "operator_key", "canary_gate"}
FREE |= {"tls_certificate", "tls_key", "relay_token_file", "api_keys_file", "metrics_key_file"}
WRONG: dict[str, tuple[str, ...]] = {
    "namespace": ("", "Pix", "9lives", "a-b", "a__b", "a_", "x" * 41, "编辑"),
    "state_folder": ("~nobody-of-this-name/state",),
    "grafana_token_file": ("~nobody-of-this-name/token",),
    "devices": ("", "gpu", "cuda:", "cuda:x", "CPU", "cpu,", "auto,cpu", "cpu;cpu"),
    "isolation": ("", "container"),
    "shadow": ("x" * 1001,),
    "shadow_precision": ("int4", "FLOAT16"),
    "shadow_steps": ("-1", "1001", "many"),
    "shadow_compile": ("perhaps",),
    "shadow_devices": ("gpu", "auto", "cuda:x", "cpu,"),
    "shadow_ratio": ("-0.1", "1.1", "nan"),
    "shadow_pairs": ("19", "100001", "many"),
    "shadow_seconds_per_hour": ("-1", "3601", "nan"),
    "root_path": ("studio", "/studio/", "/stu dio", "//studio", "/" + "x" * 200),
    "forwarded_allow_ips": ("proxy.example", "127.0.0.1,*", "127.0.0.1,", "10.0.0.0/33"),
    "peers": (
        "safelight-peers:8000",
        "ftp://one:8000",
        "http://",
        "http://one:8000/path",
        "http://one:8000, http://two:8000",
        "http://one:8000,",
        "http://one:65536",
        "http://two:8000,http://one:800000",
        "http://one:0",
    ),
    "allowed_hosts": ("https://a.example", "a.example:80", "a b", "a,,b", "a,", "a,*", "a/b"),
    "cors_origins": (
        "images.example",
        "https://images.example/",
        "https://one.example, https://two.example",
        "https://*.example",
        "*,https://images.example",
    ),
    "allow_anonymous": ("", "perhaps"),
    "api_keys": (
        "anna",
        "anna=",
        "anna=1234",
        "an na=" + "0" * 64,
        "anna=" + "G" * 64,
        "anna:all=" + "0" * 64,
    ),
    "protected_pages": ("healthz", "docs,", "docs,,models", "docs models", "/docs"),
    "rate_limit_per_minute": ("-1", "nan", "inf", "1000001"),
    "connection_limit": ("0", "100001", "all"),
    "connections_per_address": ("0", "100001"),
    "header_seconds": ("0", "3601", "nan"),
    "header_limit": ("9", "10001"),
    "header_limit_bytes": ("1023", "1048577"),
    "keep_alive_seconds": ("0", "3601", "1.5"),
    "client_idle_seconds": ("0", "3601", "nan"),
    "pipeline_limit": ("0", "1001"),
    "write_buffer_bytes": ("1023", "1073741825"),
    "uploads_limit_bytes": ("1048575", "1099511627777"),
    "upload_bytes_per_second": ("-1", "1099511627777", "1.5"),
    "max_concurrent_requests": ("0", "100001", "all"),
    "request_timeout_limit_seconds": ("0", "3601", "nan"),
    "batch_limit": ("0", "1025"),
    "canary_seconds": ("-1", "86401", "nan", "inf"),
    "canary_ratio": ("-0.1", "1.1", "nan"),
    "sleep_after_seconds": ("-1", "86401", "nan", "inf"),
    "breaker_failures": ("0", "1001"),
    "breaker_rest_seconds": ("0", "3601"),
    "degradation_level": ("-1", "6", "high"),
    "degradation_limit": ("-1", "6"),
    "degradation_dwell_seconds": ("0", "3601"),
    "vram_limit_ratio": ("0", "1.1"),
    "latency_limit_seconds": ("0", "3601"),
    "backlog_limit_ratio": ("0", "1.1"),
    "preview_every_steps": ("-1", "1001"),
    "precision": ("", "float8", "half"),
    "port": ("", "0", "-1", "65536", "http", "80.5"),
    "prometheus_port": ("0", "65536"),
    "console_port": ("0", "65536"),
    "alertmanager_port": ("0", "65536"),
    "node_exporter_port": ("0", "65536"),
    "alert_relay_port": ("0", "65536"),
    "grafana_port": ("0", "65536"),
    "gpu_exporter_port": ("0", "65536"),
    "retention": ("", "0d", "15", "15 d", "-1d", "15days", "1.5d", "for ever"),
    "queue_limit": ("0", "100001", "many"),
    "request_timeout_seconds": ("0", "-1", "3601", "nan", "inf"),
    "body_limit_bytes": ("0", "1023", "9999999999"),
    "image_limit_pixels": ("0", "10000000000"),
    "image_side_pixels": ("63", "8193"),
    "black_level": ("-1", "255"),
    "flat_deviation": ("-1", "101", "nan"),
    "noise_correlation": ("-0.1", "0.91", "nan"),
    "structure_floor": ("-0.1", "1.1", "nan"),
    "background_entropy_limit_bits": ("-1", "12.1", "nan"),
    "quality_sample_ratio": ("-0.1", "1.1", "nan"),
    "samples": ("", "perhaps"),
    "clip_model": ("x" * 1001,),
    "instruction_limit": ("0", "10001"),
    "step_limit": ("0", "1001"),
    "gpu_hour_price": ("0", "-1", "1000001", "nan", "inf", "free"),
    "gpu_interval_seconds": ("0", "301", "nan"),
    "host_interval_seconds": ("0", "301"),
    "grace_seconds": ("-1", "601"),
    "hang_seconds": ("0", "3601"),
    "restart_limit": ("-1", "1001"),
    "log_limit_bytes": ("0", "1048575", "big"),
    "log_format": ("", "xml"),
    "log_output": ("",),
    "log_file_bytes": ("0", "1048575", "big"),
    "log_files": ("0", "1001"),
    "log_private": ("", "perhaps"),
    "otlp_endpoint": (
        "localhost:4318",
        "http://",
        "ftp://localhost",
        "http://h:4318 oops",
        "http://h:4318\n",
        "http://h:4318/?x=1",
        "http://h:4318#x",
        "http://h:4318/v1/traces",
        "http://h:4318/otlp/v1/metrics/",
    ),
    "otlp_protocol": ("", "http/json"),
    "trace_url": ("localhost/{trace_id}", "http://localhost/", "http://a b/{trace_id}"),
    "otlp_metrics_seconds": ("-1", "3601", "0.5"),
    "otlp_temporality": ("", "lowmemory"),
    "trace_ratio": ("-0.1", "1.1", "nan"),
    "records_url": (
        "records.db",
        "mysql://host/name",
        "sqlite://",
        "postgres://host/name",
        "postgresql://host:x/name",
    ),
    "records_retention_days": ("0", "-1", "3651", "nan"),
    "records_limit_bytes": ("0", "1048575", "much"),
    "samples_per_type": ("0", "1001"),
    "rating_retention_seconds": ("0", "-1", "2592001", "inf"),
    **dict.fromkeys(
        (
            "compile",
            "attention_slicing",
            "vae_tiling",
            "allow_pickle",
            "warm_up",
            "samples",
            "store_prompts",
            "otlp_traces",
        ),
        ("", "perhaps"),
    ),
}
CASES = [(field, wrong) for field, values in WRONG.items() for wrong in values]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "safelight.toml"
    file.write_text('port = 8100\nqueue_limit = 7\nmodel = "from-file"\n')
    monkeypatch.setenv("SAFELIGHT_CONFIG", str(file))
    return file


def line_of(wrong: pytest.ExceptionInfo[BadSetting]) -> str:
    line = str(wrong.value)
    assert line
    assert "\n" not in line
    return line


def test_without_settings_the_defaults_apply() -> None:
    settings = load()
    assert (settings.model, settings.namespace) == ("demo-edit", "instructpix2pix")
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_file_wins_over_the_default(config: Path) -> None:
    assert load().port == 8100


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_PORT", "8200")
    assert load().port == 8200
    assert load().queue_limit == 7


def test_the_command_line_wins_over_all(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_PORT", "8200")
    assert load(port=8300).port == 8300


def test_an_omitted_flag_does_not_override_the_file(config: Path) -> None:
    assert load(port=None, model=None).model == "from-file"


def test_z8_the_number_of_requests_can_be_set_without_the_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load().max_concurrent_requests is None
    monkeypatch.setenv("MAX_CONCURRENT_REQUESTS", "7")
    assert load().max_concurrent_requests == 7
    monkeypatch.setenv("SAFELIGHT_MAX_CONCURRENT_REQUESTS", "9")
    assert load().max_concurrent_requests == 9
    assert load(max_concurrent_requests=3).max_concurrent_requests == 3


def test_an_unknown_variable_with_the_prefix_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load()
    monkeypatch.setenv("SAFELIGHT_SOMETHING_ELSE", "1")
    assert load() == before


def test_every_bounded_setting_has_its_wrong_values_tested() -> None:
    assert set(WRONG) | FREE == set(Settings.model_fields)


@pytest.mark.parametrize(("field", "wrong"), CASES)
def test_a_wrong_value_is_one_clear_line(
    field: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environment_name(field), wrong)
    with pytest.raises(BadSetting) as raised:
        load()
    line = line_of(raised)
    assert line.startswith(f"{environment_name(field)}: ")
    assert repr(wrong[:60]) in line


@pytest.mark.parametrize(("field", "wrong"), CASES)
def test_a_wrong_flag_is_refused_like_a_wrong_variable(field: str, wrong: Any) -> None:
    with pytest.raises(BadSetting, match=environment_name(field)):
        load(**{field: wrong})


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("peers", "http://one:80,http://user:se/cret@two:8000", "'http://***@two:8000'"),
        ("peers", "user:secret@one", "'***@one'"),
        ("records_url", "mysql://me:s@cret@host/name", "'mysql://***@host/name'"),
        ("records_url", "postgresql://me:se/cret@host:x/n", "'postgresql://***@host:x/n'"),
    ],
)
def test_a_password_in_a_wrong_address_is_not_shown(field: str, value: str, shown: str) -> None:
    with pytest.raises(BadSetting) as raised:
        load(**{field: value})
    line = line_of(raised)
    assert line.endswith(f"got {shown}")
    assert "cret" not in line


@pytest.mark.parametrize(
    "address",
    [
        "",
        "sqlite:///C:/x:y/records.db",
        "postgresql://host/name",
        "postgresql://me:se:c/r#e?t@host:5432/name",
        "postgresql://[::1]:5432/name?sslmode=require",
        "postgresql:///name?host=/var/run/a:b",
    ],
)
def test_an_address_of_records_is_accepted(address: str) -> None:
    assert load(records_url=address).records_url == address


def test_the_line_about_wrong_peers_says_what_to_write() -> None:
    with pytest.raises(BadSetting) as raised:
        load(peers="one:8000")
    assert str(raised.value) == (
        "SAFELIGHT_PEERS: write http(s)://HOST[:PORT], comma-separated, got 'one:8000'"
    )


def test_the_line_about_a_wrong_namespace_says_what_is_allowed() -> None:
    with pytest.raises(BadSetting, match="small letters, digits and single underscores"):
        load(namespace="a-b")


def test_several_wrong_values_are_all_named() -> None:
    with pytest.raises(BadSetting) as raised:
        load(port=0, queue_limit=0)
    line = line_of(raised)
    assert "SAFELIGHT_PORT" in line
    assert "SAFELIGHT_QUEUE_LIMIT" in line


def test_a_long_value_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_PORT", "x" * 5000)
    with pytest.raises(BadSetting) as raised:
        load()
    assert len(line_of(raised)) < 300


def test_an_unknown_setting_in_the_file_is_named(config: Path) -> None:
    config.write_text("prot = 8100\n")
    with pytest.raises(BadSetting, match="PROT"):
        load()


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe\x00", b"= 3", b"port = 0"])
def test_a_file_that_cannot_be_used_is_one_line(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(BadSetting) as raised:
        load()
    assert "SAFELIGHT_" in line_of(raised)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_missing_file_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_CONFIG", str(tmp_path / name))
    with pytest.raises(BadSetting) as raised:
        load()
    assert "SAFELIGHT_CONFIG" in line_of(raised)


def test_settings_are_frozen() -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, "port", 1)  # noqa: B010 - a type checker refuses it too


def test_every_setting_has_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_a_child_process_gets_the_environment_and_extra_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAFELIGHT_PORT", "8200")
    environment = program_environment(EXTRA="1")
    assert (environment["SAFELIGHT_PORT"], environment["EXTRA"]) == ("8200", "1")


def test_no_color_disables_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert plain_output()
    monkeypatch.setenv("NO_COLOR", "")
    assert not plain_output()


def test_the_help_of_log_private_names_all_that_it_unmasks() -> None:
    described = Settings.model_fields["log_private"].description or ""
    assert "exceptions and texts" in described
