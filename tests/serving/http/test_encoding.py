"""Every form of base64 that a client sends for an image."""

from base64 import b64encode, encodebytes, urlsafe_b64encode
from random import Random
from time import perf_counter

import pybase64
import pytest

from safelight.errors import MalformedBody
from safelight.serving.http.encoding import decode_base64

IMAGE = Random(1).randbytes(1000)  # 1000 = 3 * 333 + 1: two characters of padding
PLAIN = b64encode(IMAGE).decode()
FORMS = {
    "plain": PLAIN,
    "lines of 76 characters": encodebytes(IMAGE).decode(),
    "lines of Windows": encodebytes(IMAGE).decode().replace("\n", "\r\n"),
    "spaces and tabs": f" {PLAIN[:10]} \t{PLAIN[10:]} ",
    "the alphabet of URLs": urlsafe_b64encode(IMAGE).decode(),
    "no padding": PLAIN.rstrip("="),
    "half of the padding": PLAIN.removesuffix("="),
    "the alphabet of URLs, no padding": urlsafe_b64encode(IMAGE).decode().rstrip("="),
    "a data: URL": f"data:image/png;base64,{PLAIN}",
    "a data: URL with a parameter": f"data:image/png;charset=utf-8;base64,{PLAIN}",
    "a data: URL without a type": f"data:;base64,{PLAIN}",
    "a data: URL in capitals": f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
    "a data: URL with lines": f"data:image/png;base64,{encodebytes(IMAGE).decode()}",
    "a data: URL of the alphabet of URLs": "data:image/png;base64,"
    + urlsafe_b64encode(IMAGE).decode().rstrip("="),
}
BROKEN = {
    "other characters": "####",
    "a character of another script": "é" + PLAIN,
    "one character too few": PLAIN.rstrip("=")[:-1],
    "padding in the middle": "AA==" + PLAIN,
    "too much padding": PLAIN + "==",
    "a comma": f"image,{PLAIN}",
    "a data: URL of text": "data:text/plain,hello",
    "a data: URL without a comma": "data:image/png;base64",
    "a surrogate": "\ud800AAA",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_base64_is_decoded(form: str) -> None:
    assert decode_base64(FORMS[form]) == IMAGE


@pytest.mark.parametrize("form", BROKEN)
def test_broken_base64_is_refused_with_what_to_send(form: str) -> None:
    with pytest.raises(MalformedBody, match=r"`image` .* base64\. ?Send"):
        decode_base64(BROKEN[form])


def test_nothing_is_decoded_to_nothing() -> None:
    assert decode_base64("") == b""


def test_the_plain_form_costs_no_more_than_its_decoding() -> None:
    text = b64encode(bytes(3_000_000)).decode()

    def fastest(decode) -> float:  # type: ignore[no-untyped-def]
        def seconds() -> float:
            started = perf_counter()
            decode(text)
            return perf_counter() - started

        return min(seconds() for _ in range(20))

    assert fastest(decode_base64) < 1.5 * fastest(
        lambda text: pybase64.b64decode(text, validate=True)
    )
