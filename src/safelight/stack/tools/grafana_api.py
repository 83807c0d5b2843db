"""Grafana's HTTP API: send a request, and read the response or raise one line that says what to do.

No message contains the token or a password.
"""

from collections.abc import Mapping
from typing import TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from safelight.errors import BadSetting, ServiceFailed
from safelight.stack.programs import error_text, without_password

TOKEN_ADVICE = (
    "Give --token-file a file with the token of a service account that has the role Editor "
    "(Grafana: Administration, Service accounts)."
)

Params = Mapping[str, str | int]
T = TypeVar("T")


class GrafanaApi:
    """The API of one Grafana. `shown` is its address for messages."""

    def __init__(self, url: str, client: httpx.Client, token: str | None = None) -> None:
        self.shown = without_password(url)
        self._url = url
        self._client = client
        self._headers = {"accept": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    def request(
        self,
        shape: type[T],
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: object = None,
    ) -> T:
        """Send a request and return the content of its response."""
        return self.parse(self.send(method, path, params=params, json=json), shape)

    def send(
        self, method: str, path: str, *, params: Params | None = None, json: object = None
    ) -> httpx.Response:
        """Send a request. Raises ServiceFailed if there is no response."""
        try:
            return self._client.request(
                method, f"{self._url}{path}", headers=self._headers, params=params, json=json
            )
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"Grafana at {self.shown} cannot be reached: {error_text(error)}. "
                "Is it running, and is --url its address?"
            ) from None

    def parse(self, response: httpx.Response, shape: type[T]) -> T:
        """Return the content of a response. Raises an error that says what to do."""
        content = content_of(response)
        if response.is_success and content is not None:
            try:
                return TypeAdapter(shape).validate_python(content)
            except ValidationError:
                raise ServiceFailed(
                    f"{self.shown} is not a Grafana, or an unknown version: its response to "
                    f"{response.request.url.path} has another format. Is --url its address?"
                ) from None
        message = _message(content)
        error, remedy = _explain(response.status_code, content)
        if error is None:
            raise ServiceFailed(
                f"Grafana at {self.shown} returned {response.status_code} for "
                f"{response.request.url.path}{message}. See Grafana's log."
            )
        raise error(f"Grafana at {self.shown} returned {response.status_code}{message}. {remedy}")


_ERRORS: dict[int, tuple[type[BadSetting] | type[ServiceFailed], str]] = {
    400: (ServiceFailed, "See Grafana's log."),
    401: (BadSetting, f"The token is missing, wrong or expired. {TOKEN_ADVICE}"),
    403: (BadSetting, f"The token's role has no permission for this. {TOKEN_ADVICE}"),
    404: (BadSetting, "The page is missing. Is --url the address of Grafana, with its path?"),
    412: (
        ServiceFailed,
        "The dashboard belongs to a plugin, or another user is saving it at the same time.",
    ),
}
# The fields `status` of 412 and `message` of 400, which say more than the code.
_REASONS = {
    "name-exists": "Another dashboard in the folder has its title. Delete, rename or move that.",
    "version-mismatch": "Another user is saving it at the same time. Push again.",
    "plugin-dashboard": "It belongs to a plugin of Grafana. Remove the plugin, or change the uid.",
    "provisioned": "Grafana provisions it from a file. Change or remove the file instead.",
}


def _explain(
    code: int, content: object
) -> tuple[type[BadSetting] | type[ServiceFailed] | None, str]:
    """Return the error for a response, and what to do."""
    error, remedy = _ERRORS.get(code, (None, ""))
    if isinstance(content, dict) and code in (400, 412):
        words = f"{content.get('status')} {content.get('message')}"
        remedy = next((text for reason, text in _REASONS.items() if reason in words), remedy)
    return error, remedy


def content_of(response: httpx.Response) -> object:
    """Return the JSON of a response, or None if it is something else."""
    try:
        content: object = response.json()
    except ValueError:
        return None
    return content


def _message(content: object) -> str:
    """Return Grafana's own error message in brackets, or an empty text."""
    message = content.get("message") if isinstance(content, dict) else None
    line = " ".join(str(message).split()).rstrip(".")[:200] if message else ""
    return f' ("{line}")' if line.isprintable() and line else ""
