from pathlib import Path
from typing import Any

import pytest
from rich.padding import Padding

from safelight.cli.options import (
    console,
    format_help,
    model_argument,
    parse_address,
    program_name,
    setting_option,
)
from safelight.errors import BadSetting
from safelight.settings import Settings, environment_name


@pytest.mark.parametrize("field", Settings.model_fields)
def test_an_option_has_the_description_variable_and_default_of_its_setting(field: str) -> None:
    info = Settings.model_fields[field]
    option: Any = setting_option(field)
    assert option.default == f"--{field.replace('_', '-')}"  # the name's place under Annotated
    assert str(info.description) in option.help
    assert environment_name(field) in option.help
    assert "None" not in option.help
    default = "" if info.default is None else f", default {info.default}"
    assert option.help.endswith(f"[{environment_name(field)}{default}][/dim]")


def test_the_model_argument_names_its_variable_and_default() -> None:
    assert "[SAFELIGHT_MODEL, default demo-edit]" in model_argument().help


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://host/path/", "https://host/path"),
        ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_becomes_a_url(text: str, url: str) -> None:
    assert parse_address(text) == url


@pytest.mark.parametrize(
    "text", ["", "http://", "ftp://host", "http://[::bad", "http://h:99999999"]
)
def test_an_invalid_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        BadSetting, match=r"is not a valid address. Write it like http://127\.0\.0\.1:8000"
    ):
        parse_address(text)


def test_help_text_has_paragraphs_and_indented_examples() -> None:
    short = format_help("Do it,\n    well.\n\n    Example: safelight do\n    ")
    longer = format_help("Do it.\n\nBut not\nalways.\n\nExamples:\n\nsafelight a\n\n   safelight b")

    assert short == "Do it, well.\n\n\nExample:\n\n    safelight do"
    assert longer == (
        "Do it.\n\nBut not always.\n\nExamples:\n\n    safelight a\n\n    safelight b"
    )
    assert format_help("Only\nprose.") == "Only prose."


@pytest.mark.parametrize(
    ("inside", "exists", "command"),
    [
        ("", True, ".venv/bin/safelight"),
        (".venv/bin", True, "./safelight"),
        ("", False, ".venv/bin/python -m safelight"),
        ("a folder", True, "../.venv/bin/safelight"),
    ],
)
def test_hints_use_the_path_of_the_program_only_if_it_is_not_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, exists: bool, command: str
) -> None:
    programs = tmp_path / ".venv" / "bin"
    for folder in (programs, tmp_path / "a folder"):
        folder.mkdir(parents=True)
    if exists:
        (programs / "safelight").touch(0o755)
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    monkeypatch.chdir(tmp_path / inside)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_name() == command
    monkeypatch.setenv("PATH", str(programs))
    assert program_name() == ("safelight" if exists else command)


def test_output_to_a_file_is_wide_and_plain_without_trailing_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = console()
    assert (out.width, out.is_terminal, out.color_system) == (140, False, None)
    out.print(Padding("a  b", (0, 0, 0, 4)))
    out.print("c ", end="")
    out.print("d")
    assert capsys.readouterr().out == "    a  b\nc d\n"
