"""Parse the body of a model request: a raw image, a multipart form, or JSON with base64.

Parameters may also be in the query; those in the body win. Large forms and base64 texts are parsed
in a thread, never on the event loop.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from urllib.parse import parse_qsl

import orjson
from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field as FormField
from python_multipart.multipart import File as FormFile
from python_multipart.multipart import FormParser, create_form_parser

from safelight.errors import ImageTooLarge, InvalidParameter, MalformedBody, UnsupportedMediaType
from safelight.mistakes import words_of
from safelight.quality.cost import BOUNDED
from safelight.quality.formats import format_of
from safelight.quality.images import measure
from safelight.serving.http.encoding import decode_base64
from safelight.serving.http.naming import header
from safelight.serving.http.sizes import Sides, check_sides, working_size
from safelight.serving.job import GenerateParameters, Parameters, PredictParameters
from safelight.settings import Settings

IMAGE_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/avif",
    "image/heic",
)
ACCEPTED = (*IMAGE_TYPES, "multipart/form-data", "application/json")
_OTHER_NAMES = ("image/jpg", "image/x-ms-bmp", "image/heif", "application/octet-stream")
_RAW = frozenset((*IMAGE_TYPES, *_OTHER_NAMES))  # the first bytes tell the format, not the name
_SMALL_BYTES = 64 * 1024  # below this, a thread costs more than the parsing
_TYPE = b"content-type"
_USUAL_BYTES = 256
_FIELD_LIMIT = 32
_TEXT_LIMIT_BYTES = 64 * 1024  # of a field in a form
_VALUE_LIMIT = 20_000  # also commas in texts
_SENTENCE_LIMIT = 5
_SIDES = (("width",), ("height",))


Fields = Mapping[str, object]
Body = tuple[bytes, Fields]
"""The image, and the parameters of a request, not validated."""


async def parse_image(request: Request, body: bytes) -> Body:
    """Return the image's bytes and the parameters. Raises BadInput."""
    return await _parsed(request, body, _parser(header(request, _TYPE) or ""))


async def parse_fields(request: Request, body: bytes) -> Body:
    """Return the parameters of a request without an image. Raises BadInput."""
    named = header(request, _TYPE)
    media_type = "application/json" if named is None else _media_type(named)
    if body and media_type != "application/json":
        raise _unsupported(media_type, ("application/json",))
    return await _parsed(request, body, _parse_json if body else lambda _body: (b"", {}))


async def _parsed(request: Request, body: bytes, parse: Callable[[bytes], Body]) -> Body:
    image, fields = (
        parse(body) if len(body) < _SMALL_BYTES else await asyncio.to_thread(parse, body)
    )
    if query := request.scope["query_string"]:
        fields = {**(_usual if len(query) < _USUAL_BYTES else _parameters)(query), **fields}
    if len(fields) > _FIELD_LIMIT:
        raise MalformedBody(f"The request has {len(fields)} fields; the limit is {_FIELD_LIMIT}.")
    # No parameter is nested, and a message about a thousand levels would itself fail.
    nested = next((name for name, value in fields.items() if isinstance(value, list | dict)), None)
    if nested is not None:
        raise InvalidParameter(f"{nested[:60]} must be a text, a number, true or false.")
    return image, fields


def _parameters(query: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


_usual = lru_cache(256)(_parameters)  # many requests have the same short query


async def measure_image(image: bytes, sides: Sides, settings: Settings) -> tuple[int, int]:
    """Return the size at which the model works, with sides that it makes. Raises BadInput."""
    if not image:
        raise MalformedBody("The image is missing or empty. Send it as the body, or as `image`.")
    # The cost of the usual formats is bounded (quality/cost.py).
    if len(image) < _SMALL_BYTES or format_of(image) in BOUNDED:
        return working_size(*image_size(image, settings), sides)
    return working_size(*await asyncio.to_thread(image_size, image, settings), sides)


def check(kind: type[Parameters], fields: Fields, settings: Settings, sides: Sides) -> Parameters:
    """Return the parameters. Raises InvalidParameter with a sentence per invalid parameter."""
    try:
        parameters: Parameters = kind.model_validate(fields)
    except ValidationError as failure:
        errors = failure.errors()[:_SENTENCE_LIMIT]
        sentences = [_sentence(error, kind) for error in errors]
        if any(error["loc"][:1] in _SIDES for error in errors):
            sentences.append(f"A side is {sides}.")
        raise InvalidParameter(" ".join(sentences)) from None
    if isinstance(parameters, PredictParameters):
        return parameters
    if isinstance(parameters, GenerateParameters):
        check_sides(parameters.width, parameters.height, sides)
    for name in ("instruction", "prompt", "negative_prompt"):
        length = len(getattr(parameters, name, ""))
        if length > settings.instruction_limit:
            raise InvalidParameter(
                f"{name} has {length} characters and the limit is {settings.instruction_limit}. "
                "Shorten it, or raise SAFELIGHT_INSTRUCTION_LIMIT."
            )
    if parameters.steps > settings.step_limit:
        raise InvalidParameter(
            f"steps is {parameters.steps} and the limit is {settings.step_limit}. "
            "Request fewer, or raise SAFELIGHT_STEP_LIMIT."
        )
    return parameters


def image_size(image: bytes, settings: Settings) -> tuple[int, int]:
    """Return the image's width and height. Raises ImageTooLarge above the pixel limit."""
    width, height = measure(image)
    if width * height > settings.image_limit_pixels:
        raise ImageTooLarge(width, height, settings.image_limit_pixels)
    return width, height


def _parser(content_type: str) -> Callable[[bytes], Body]:
    media_type = _media_type(content_type)
    if media_type in _RAW:
        return lambda body: (body, {})
    if media_type == "application/json":
        return _parse_json
    if media_type == "multipart/form-data":
        return lambda body: _parse_form(content_type, body)
    is_image = media_type.startswith("image/")  # whoever sends one asks which others there are
    raise _unsupported(media_type, IMAGE_TYPES if is_image else ACCEPTED)


def _unsupported(media_type: str, accepted: Sequence[str]) -> UnsupportedMediaType:
    received = media_type[:60] or "none"
    return UnsupportedMediaType(
        f"The content type is {received!r}. Send one of {', '.join(accepted)}."
    )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _parse_json(body: bytes) -> Body:
    # The parser holds the interpreter: millions of small values would stop the event loop.
    if len(body) > _VALUE_LIMIT < body.count(b","):
        raise MalformedBody(f"The JSON body has more than {_VALUE_LIMIT} values.")
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise MalformedBody("The JSON body must be an object of named fields.")
    encoded = fields.pop("image", "")
    if not isinstance(encoded, str):
        raise MalformedBody("The field `image` must be a base64 string.")
    return decode_base64(encoded), fields


def _parse_form(content_type: str, body: bytes) -> Body:
    fields: dict[str, object] = {}
    images: list[bytes] = []
    parts = count(1)  # each costs time, also an empty one and one with the name of another

    def on_field(field: FormField) -> None:
        if next(parts) > _FIELD_LIMIT:
            raise MalformedBody(f"The form has more than {_FIELD_LIMIT} fields.")
        texts = field.field_name or b"", field.value or b""
        if len(max(texts, key=len)) > _TEXT_LIMIT_BYTES:  # decoding would stop the event loop
            raise MalformedBody(f"A text of the form has more than {_TEXT_LIMIT_BYTES} bytes.")
        name, value = (text.decode(errors="replace") for text in texts)
        fields[name] = value

    def on_file(file: FormFile) -> None:
        if file.field_name not in (b"image", b"image[]"):
            name = (file.field_name or b"").decode(errors="replace")[:40]
            raise MalformedBody(
                f"The form has the file {name!r}; send one file, in the field `image`. (A mask is "
                "not supported: describe the change in words.)"
            )
        if images:
            raise MalformedBody("The form has several images; send one.")
        file.file_object.seek(0)
        images.append(file.file_object.read())
        file.file_object.close()  # the parser is a cycle, which would keep it for a while

    try:
        parser = create_form_parser(
            {"Content-Type": content_type.encode("latin-1")},
            on_field,
            on_file,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},
        )
        _feed(parser, body)
    except (FormParserError, ValueError) as error:
        raise MalformedBody(f"The form cannot be read: {str(error)[:100]}.") from None
    return (images[0] if images else b""), fields


def _feed(parser: FormParser, body: bytes) -> None:
    """Let a parser read a form, and free the images that its functions, and so itself, refer to."""
    try:
        parser.write(body)
        parser.finalize()
    finally:
        parser.parser = None  # a cycle: only a garbage collection would free it, many forms later


def _sentence(error: ErrorDetails, kind: type[Parameters]) -> str:
    name = ".".join(str(part) for part in error["loc"])[:60]
    if error["type"] == "missing":
        return f"{name} is missing."
    value = str(error["input"])[:40]
    if error["type"] == "extra_forbidden":
        return f"{name} is not a parameter; the parameters are {', '.join(kind.model_fields)}."
    if words := words_of(error):
        return f"{name} {words}, got {value!r}."
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"{name}: {message}, got {value!r}."
