"""The sample portraits of the console."""

from io import BytesIO

import httpx
import pytest
from PIL import Image


def test_each_number_is_another_portrait(served_address: str) -> None:
    first, again, other = (
        httpx.get(f"{served_address}/data/sample", params={"number": number}, timeout=30)
        for number in (1, 1, 2)
    )
    assert first.headers["content-type"] == "image/jpeg"
    assert first.content == again.content != other.content
    with Image.open(BytesIO(first.content)) as image:
        assert image.size == (512, 512)


@pytest.mark.parametrize("query", ["number=64", "number=-1", "number=x", "other=1"])
def test_there_is_a_bounded_number_of_portraits(served_address: str, query: str) -> None:
    answer = httpx.get(f"{served_address}/data/sample?{query}", timeout=30)
    assert answer.status_code == 422
