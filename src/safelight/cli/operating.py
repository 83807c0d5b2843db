"""Send a request of an operator to a service, with the operator's key."""

from typing import Annotated

import httpx
import typer

from safelight.cli.options import parse_address
from safelight.errors import ServiceFailed
from safelight.settings import environment_name, load
from safelight.stack.programs import error_text

Address = Annotated[str, typer.Argument(help="Address of the service.")]
DEFAULT_ADDRESS = "http://127.0.0.1:8000"
_UNAUTHORIZED = (401, 403)
_OLD = (404, 405)
_DETAIL_CHARACTERS = 400


def post(
    address: str, path: str, *, timeout_seconds: float, content: object = None
) -> dict[str, object]:
    """Send a request and return the answer. Raises ServiceFailed, BadSetting."""
    return _asked("POST", address, path, timeout_seconds, content)


def get(address: str, path: str, *, timeout_seconds: float) -> dict[str, object]:
    """Return what a service tells. Raises ServiceFailed, BadSetting."""
    return _asked("GET", address, path, timeout_seconds, None)


def _asked(
    method: str, address: str, path: str, timeout_seconds: float, content: object
) -> dict[str, object]:
    url, key = parse_address(address), load().operator_key
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.request(
            method, f"{url}{path}", headers=headers, timeout=timeout_seconds, json=content
        )
    except httpx.HTTPError as error:
        raise ServiceFailed(
            f"{url} does not answer: {error_text(error)}. Give the address of a running service."
        ) from None
    body = _body(answer)
    if answer.is_success and isinstance(body, dict):
        return body
    raise ServiceFailed(f"{url} refused: {_reason(answer, body)}")


def _body(answer: httpx.Response) -> object:
    try:
        body: object = answer.json()
    except ValueError:
        return None
    return body


def _reason(answer: httpx.Response, body: object) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    text = str(detail or f"HTTP {answer.status_code}.")[:_DETAIL_CHARACTERS]
    if answer.status_code in _UNAUTHORIZED:
        return f"{text} Set {environment_name('operator_key')} to a key with the scope operate."
    if answer.status_code in _OLD:
        return f"{text} It is no Safelight service, or an older version."
    return text
