from typing import Any

import pytest

from safelight.cli.options import address, console, knob, model_argument
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
        assert f"={info.default}]" in option.help


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


def test_output_to_a_file_is_wide_and_plain() -> None:
    out = console()
    assert (out.width, out.is_terminal, out.color_system) == (140, False, None)
