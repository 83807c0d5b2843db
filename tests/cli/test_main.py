import os
import platform
import pty
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from safelight.cli import main as module
from safelight.cli.reference import command_list
from safelight.cli.version import LIBRARIES
from safelight.errors import ModelNotFound
from tests.cli.conftest import Call

COMMANDS = [name.removeprefix("safelight ") for name, _ in command_list(module.application())]


def test_the_version_is_the_installed_one(call: Call) -> None:
    answer = call("--version")
    first, *others = answer.out.splitlines()
    assert (answer.code, answer.err) == (0, "")
    assert first == f"safelight {version('safelight')}"
    rows = dict(line.split(maxsplit=1) for line in others)
    assert rows["Python"] == f"CPython {platform.python_version()}"
    assert rows["platform"] == platform.platform()
    assert rows["torch"] == version("torch")
    assert set(rows) == {"Python", "platform", *LIBRARIES}


def test_the_version_imports_no_library_and_names_missing_ones(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys; from safelight.cli.version import versions; versions(); "
        "print({'torch', 'diffusers', 'fastapi', 'numpy', 'sqlalchemy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
    monkeypatch.setattr("safelight.cli.version.LIBRARIES", ("nosuch",))
    assert "nosuch    not installed" in call("--version").out


def test_without_a_command_the_help_is_shown(call: Call) -> None:
    answer = call()
    assert answer.code == 2
    assert all(command.split()[0] in answer.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_an_example_that_fits_80_columns(
    command: str, call: Call
) -> None:
    answer = call(*command.split(), "--help")
    assert answer.code == 0
    assert "\n Example" in answer.out
    assert f"\n     safelight {command}" in answer.out
    assert "…" not in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "No such command 'nope'. See: safelight --help"),
        (("up", "--nope"), "No such option: --nope. See: safelight up --help"),
        (("serve", "one", "two"), "unexpected extra argument"),
        (("serve", "--port", "abc"), "Invalid value for '--port'"),
        (("top", "--interval", "0"), "Invalid value for '--interval'"),
        (("traffic", "--rate", "nan"), "Invalid value for '--rate'"),
        (("metrics", "--namespace", "Bad Name"), "SAFELIGHT_NAMESPACE"),
        (("serve", "--queue-limit", "-3"), "SAFELIGHT_QUEUE_LIMIT"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    arguments: Sequence[str], message: str, call: Call
) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert answer.line.startswith("safelight: ")
    assert message in answer.line
    assert answer.out == ""


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "-1"),
        ("PORT", "70000"),
        ("QUEUE_LIMIT", "-1"),
        ("REQUEST_TIMEOUT_SECONDS", "-5"),
        ("DEVICES", "toaster"),
        ("LOG_FORMAT", "xml"),
    ],
)
@pytest.mark.parametrize("command", ["doctor", "up", "serve", "metrics"])
def test_a_bad_variable_is_named(
    command: str, variable: str, value: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SAFELIGHT_{variable}", value)
    answer = call(command)
    assert (answer.code, answer.out) == (2, "")
    assert f"SAFELIGHT_{variable}" in answer.line
    assert value in answer.line


def test_several_bad_variables_are_all_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_PORT", "x")
    monkeypatch.setenv("SAFELIGHT_HOST_INTERVAL_SECONDS", "0")
    line = call("doctor").line
    assert "SAFELIGHT_PORT" in line
    assert "SAFELIGHT_HOST_INTERVAL_SECONDS" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a file"),
        (b"port = = 3", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"prt = 3", "PRT"),
        (b"port = 'x'", "SAFELIGHT_PORT"),
    ],
)
def test_a_bad_configuration_file_is_one_line(
    content: bytes | None, message: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "safelight.toml"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SAFELIGHT_CONFIG", str(file))
    answer = call("doctor")
    assert answer.code == 2
    assert message in answer.line


def test_an_expected_error_is_one_line_and_its_exit_code(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_options: object) -> None:
        raise ModelNotFound("x/y", "no.")

    monkeypatch.setattr(module, "application", lambda _: fail)
    answer = call()
    assert answer.code == ModelNotFound.exit_code == 3
    assert "'x/y' could not be loaded" in answer.line


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_is_exit_code_130_without_output(
    interruption: type[BaseException], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**_options: object) -> None:
        raise interruption

    monkeypatch.setattr(module, "application", lambda _: interrupted)
    answer = call()
    assert (answer.code, answer.out, answer.err) == (130, "", "")


def on_a_terminal(*arguments: str, **environment: str) -> bytes:
    """Return the output of `safelight` on a terminal."""
    reading_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "safelight", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(terminal)
    output = b""
    try:
        while chunk := os.read(reading_end, 65536):
            output += chunk
    except OSError:  # raised when the last writer has closed the terminal
        pass
    finally:
        os.close(reading_end)
        process.wait(30)
    return output


def test_an_error_is_red_on_a_terminal_unless_no_color_is_set() -> None:
    assert b"\x1b[31m" in on_a_terminal("nope")
    plain = on_a_terminal("nope", NO_COLOR="1")
    assert b"\x1b[" not in plain
    assert b"No such command" in plain


def test_a_closed_pipe_is_not_a_traceback() -> None:
    command = f"{sys.executable} -m safelight metrics --markdown | head -c 9"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("# Metrics", "")
