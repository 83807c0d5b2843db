import re
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safelight.console.answering import refused
from safelight.console.firing import _NewSilence, _Test
from safelight.console.report import _Choice
from safelight.console.requests import _Filter
from safelight.errors import InvalidParameter, UnsupportedMediaType
from safelight.mistakes import WORDS, words_of
from safelight.serving.http.body import _parser, check
from safelight.serving.http.sizes import Sides
from safelight.serving.job import EditParameters, GenerateParameters, PredictParameters
from safelight.settings import Settings
from safelight.translation import told
from tests.languages import english


class Form(BaseModel):
    """A form with every usual kind of field."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(5, ge=1, le=9)
    ratio: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    even: int = Field(2, multiple_of=2)
    on: bool = True
    name: str = Field("ab", min_length=2, max_length=3)
    order: Literal["up", "down"] = "up"
    kinds: list[str] = Field(["a"], min_length=1, max_length=2)
    labels: dict[str, str] = {}
    code: str = Field("", pattern="^[a-z]*$")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", "many", "must be a whole number"),
        ("count", 1.5, "must be a whole number"),
        ("count", "9" * 5000, "has too many digits"),
        ("count", 0, "must be at least 1"),
        ("count", 10, "must be at most 9"),
        ("ratio", "half", "must be a number"),
        ("ratio", 0, "must be more than 0"),
        ("ratio", 1, "must be less than 1"),
        ("ratio", float("nan"), "must be a finite number"),
        ("even", 3, "must be a multiple of 2"),
        ("on", "perhaps", "must be true or false"),
        ("name", 5, "must be a text"),
        ("name", "a", "must have at least 2 characters"),
        ("name", "abcd", "must have at most 3 characters"),
        ("order", "left", "must be one of 'up', 'down'"),
        ("kinds", "a", "must be a list"),
        ("kinds", [], "must have at least 1 entries"),
        ("kinds", ["a", "b", "c"], "must have at most 2 entries"),
        ("labels", 1, "must be an object of named fields"),
        ("code", "A", "has another form than it must have"),
        ("colour", 1, "is not a parameter"),
    ],
)
def test_a_mistake_has_words_for_people_in_both_languages(
    field: str, value: object, words: str
) -> None:
    with pytest.raises(ValidationError) as failure:
        Form.model_validate({field: value})
    error = failure.value.errors()[0]
    assert words_of(error) == words
    for text in (f"{field} {words}.", f"{field} {words}, got {str(value)[:40]!r}."):
        own = told(text, "zh")
        assert own.endswith("。")
        assert not re.search("[a-z]{2,} [a-z]{2,} [a-z]{2,}", own)


def test_no_words_are_those_of_a_library() -> None:
    texts = " ".join(WORDS.values())
    assert not re.search(r"[Ii]nput|valid|pattern|string|integer", texts)


@pytest.mark.parametrize("kind", [EditParameters, GenerateParameters, PredictParameters])
@pytest.mark.parametrize("value", ["x", -1, "1e99", 0.5, "9" * 400])
def test_a_wrong_parameter_of_a_model_is_told_in_chinese(
    kind: type[EditParameters], value: object
) -> None:
    fields = {name: value for name in kind.model_fields if name not in ("instruction", "prompt")}
    with pytest.raises(InvalidParameter) as failure:
        check(kind, fields, Settings(), Sides(1024))
    assert english(told(str(failure.value), "zh")) == []


@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        (_Filter, {"size": "big"}, "Write a size as width and height in pixels, such as 512x512."),
        (_Filter, {"after": "x"}, "This address is of no page of the requests."),
        (_Filter, {"seed": "x"}, "seed must be a whole number."),
        (_Filter, {"rating": "6"}, "rating must be one of 'rated', '1', '2', '3', '4', '5'."),
        (_Filter, {"colour": "red"}, "colour is not a parameter."),
        (_Choice, {"namespace": "A-B"}, "A namespace has small letters, digits and underscores"),
        (_Test, {"severity": "bad"}, "A severity is critical, warning or info."),
        (_NewSilence, {"labels": {}, "hours": 1, "reason": "x"}, "labels must have at least 1"),
        (_Test, [], "The body must be an object of named fields."),
    ],
)
def test_a_page_says_what_to_write(model: type[BaseModel], fields: object, says: str) -> None:
    with pytest.raises(ValidationError) as failure:
        model.model_validate(fields)
    text = str(refused(failure.value, model))
    assert text.startswith(says)
    assert "^" not in text
    assert english(told(text, "zh")) == []


def test_a_body_that_is_no_json_is_told_as_such() -> None:
    with pytest.raises(ValidationError) as failure:
        _Test.model_validate_json("{")
    assert str(refused(failure.value, _Test)) == "The body is not valid JSON."


def test_who_sends_an_image_is_told_of_image_types_only() -> None:
    for sent, has_forms in (("image/svg+xml", False), ("text/plain", True)):
        with pytest.raises(UnsupportedMediaType) as failure:
            _parser(sent)
        assert "image/png" in str(failure.value)
        assert ("multipart/form-data" in str(failure.value)) is has_forms
