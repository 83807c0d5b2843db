"""Say in words what is wrong with a parameter that somebody sent. The words name no type of Python.

Pydantic finds the mistakes; its own sentences are for programmers.
"""

from collections.abc import Mapping

from pydantic_core import ErrorDetails

_WHOLE, _NUMBER, _YES_OR_NO = "must be a whole number", "must be a number", "must be true or false"
_OBJECT, _LIST = "must be an object of named fields", "must be a list"
# What each kind of mistake is called; a value in braces is a limit.
WORDS: Mapping[str, str] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _YES_OR_NO),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), _OBJECT),
    **dict.fromkeys(("list_type", "tuple_type"), _LIST),
    "int_parsing_size": "has too many digits",
    "finite_number": "must be a finite number",
    "string_type": "must be a text",
    "string_unicode": "must be a text",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be one of {expected}",
    "string_pattern_mismatch": "has another form than it must have",
    "missing": "is missing",
    "extra_forbidden": "is not a parameter",
}
NOT_JSON, NOT_AN_OBJECT = "The body is not valid JSON.", f"The body {_OBJECT}."


def words_of(error: ErrorDetails) -> str | None:
    """Return what is wrong, such as `must be at least 1`; None for a rare kind of mistake."""
    words = WORDS.get(error["type"])
    limits = {name: _listed(value) for name, value in error.get("ctx", {}).items()}
    return None if words is None else words.format_map(limits)


def _listed(limit: object) -> str:
    """Return a limit as text; `'a', 'b' or 'c'` as a list that is no sentence."""
    return (
        f"{limit:g}"
        if isinstance(limit, float)
        else str(limit).replace(" or ", ", ").replace("'', ", "")
    )
