"""Decode the base64 of an image in JSON, in any of the forms that clients send."""

import pybase64

from safelight.errors import MalformedBody

_SPACES = b" \t\r\n\v\f"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648, section 5
_GROUP, _MOST_PADDING = 4, 2  # characters


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64, or of a data: URL. Raises MalformedBody.

    Line breaks, the alphabet of URLs and missing padding are accepted.
    """
    if text[:5].lower() == "data:":
        text = _of_data_url(text)
    try:  # no copy of the text: most clients send the plain form
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return _decode_variant(text)


def _of_data_url(text: str) -> str:
    head, comma, encoded = text.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise MalformedBody(
            "The field `image` is a data: URL without base64. "
            "Send data:image/png;base64, and the base64 of the image."
        )
    return encoded


def _decode_variant(text: str) -> bytes:
    """Decode what is not plain base64: white space, `-` and `_`, missing `=`."""
    digits = text.encode(errors="replace").translate(_TO_STANDARD, _SPACES)
    bare = digits.rstrip(b"=")
    try:
        if len(digits) - len(bare) > _MOST_PADDING:
            raise ValueError  # noqa: TRY301 - one message for all that is wrong
        return pybase64.b64decode(bare + b"=" * (-len(bare) % _GROUP), validate=True)
    except ValueError:
        raise MalformedBody(
            "The field `image` is not valid base64. Send A-Z, a-z, 0-9, + and /, or a data: URL."
        ) from None
