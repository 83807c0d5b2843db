from pathlib import Path
from typing import Any

import pytest
from rich.padding import Padding

from safelight.cli.options import address, console, knob, laid_out, model_argument, own_name
from safelight.errors import BadSetting
from safelight.settings import Settings, environment_name


@pytest.mark.parametrize("field", Settings.model_fields)
def test_an_option_has_the_setting_s_sentence_variable_and_default(field: str) -> None:
    info = Settings.model_fields[field]
    option: Any = knob(field)
    assert option.default == f"--{field.replace('_', '-')}"  # the name's place under Annotated
    assert str(info.description) in option.help
    assert environment_name(field) in option.help
    assert "None" not in option.help
    if info.default is not None:
        assert f"={info.default}]" in option.help.replace("= ", "=")


def test_the_model_argument_names_its_variable_and_default() -> None:
    assert "SAFELIGHT_MODEL=demo-edit" in model_argument().help


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
def test_an_address_is_made_whole(text: str, url: str) -> None:
    assert address(text) == url


@pytest.mark.parametrize(
    "text", ["", "http://", "ftp://host", "http://[::bad", "http://h:99999999"]
)
def test_what_is_no_address_is_told_with_an_example(text: str) -> None:
    with pytest.raises(BadSetting, match=r"is no address; write it like http://127\.0\.0\.1:8000"):
        address(text)


def test_a_help_wraps_its_prose_and_indents_its_examples_alike() -> None:
    short = laid_out("Do it,\n    well.\n\n    Example: safelight do\n    ")
    longer = laid_out("Do it.\n\nBut not\nalways.\n\nExamples:\n\nsafelight a\n\n   safelight b")

    assert short == "Do it, well.\n\n\nExample:\n\n    safelight do"
    assert longer == (
        "Do it.\n\nBut not always.\n\nExamples:\n\n    safelight a\n\n    safelight b"
    )
    assert laid_out("Only\nprose.") == "Only prose."


@pytest.mark.parametrize(
    ("inside", "there", "said"),
    [
        ("", True, ".venv/bin/safelight"),
        (".venv/bin", True, "./safelight"),
        ("", False, ".venv/bin/python -m safelight"),
        ("a folder", True, "../.venv/bin/safelight"),
    ],
)
def test_hints_name_the_program_by_its_path_only_where_its_name_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, there: bool, said: str
) -> None:
    own = tmp_path / ".venv" / "bin"
    for folder in (own, tmp_path / "a folder"):
        folder.mkdir(parents=True)
    if there:
        (own / "safelight").touch(0o755)
    monkeypatch.setattr("sys.executable", str(own / "python"))
    monkeypatch.chdir(tmp_path / inside)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_name() == said
    monkeypatch.setenv("PATH", str(own))
    assert own_name() == ("safelight" if there else said)


def test_output_to_a_file_is_wide_and_plain_and_not_filled_up_with_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = console()
    assert (out.width, out.is_terminal, out.color_system) == (140, False, None)
    out.print(Padding("a  b", (0, 0, 0, 4)))
    out.print("c ", end="")
    out.print("d")
    assert capsys.readouterr().out == "    a  b\nc d\n"
