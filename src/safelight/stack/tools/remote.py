"""Push dashboards to Grafana's HTTP API, into the folder Safelight, and pull them back.

Every error of Grafana becomes one line that says what to do. No message contains the token.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from safelight.errors import BadSetting, SafelightError, ServiceFailed
from safelight.stack.files.document import Document
from safelight.stack.programs import error_text, without_password

FOLDER_UID, FOLDER_TITLE, TAG = "safelight", "Safelight", "safelight"
TIMEOUT_SECONDS = 15.0
_MAX_BOARDS = 500
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")  # Grafana's rule; here the uid becomes a file name
_INSTANCE_FIELDS = ("id", "version")  # differ between Grafanas with the same dashboard
_MAX_TOKEN_LENGTH = 4096
_TOKEN = (
    "Give --token-file a file with the token of a service account that has the role Editor "
    "(Grafana: Administration, Service accounts)."
)

Board = Document
T = TypeVar("T")


_Params = Mapping[str, str | int]


class _Folder(BaseModel):
    uid: str
    title: str = ""


class _Source(BaseModel):
    type: str


class _Saved(BaseModel):
    url: str | None = None


class _SearchResult(BaseModel):
    uid: str


class _Stored(BaseModel):
    dashboard: Board


def read_token(file: Path | None) -> str | None:
    """Return the token in a file, or None without a file. Raises BadSetting."""
    if file is None:
        return None
    try:
        text = file.expanduser().read_text(encoding="ascii")[: _MAX_TOKEN_LENGTH + 1].strip()
    except OSError as error:
        raise BadSetting(f"The token file {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        text = ""
    if not re.fullmatch(r"[!-~]{1,4096}", text):
        raise BadSetting(f"The token file {file} contains no token of one word. {_TOKEN}")
    return text


def read_boards(folder: Path) -> dict[str, Board]:
    """Return every dashboard in a folder by uid. Raises BadSetting."""
    boards: dict[str, Board] = {}
    try:
        files = sorted(folder.glob("*.json"))
    except OSError as error:
        raise BadSetting(f"The dashboards cannot be read: {error.strerror}.") from None
    for file in files:
        try:
            board = json.loads(file.read_text(encoding="utf-8"))
            boards[board["uid"]] = board
        except (OSError, ValueError, KeyError, TypeError):
            raise BadSetting(
                f"{file} is not a dashboard: it needs JSON with a uid. Remove the file."
            ) from None
    if not boards:
        raise BadSetting(f"There are no dashboards (*.json) in {folder}.")
    return boards


def normalized(board: Board) -> str:
    """Return a dashboard as JSON without the fields that belong to one Grafana."""
    content = {name: value for name, value in board.items() if name not in _INSTANCE_FIELDS}
    return json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


class Grafana:
    """A client for one Grafana; every error is raised as one line."""

    def __init__(self, url: str, client: httpx.Client, token: str | None = None) -> None:
        self._url = url
        self._shown = without_password(url)
        self._client = client
        self._headers = {"accept": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    def push(self, boards: Mapping[str, Board]) -> list[str]:
        """Save every dashboard in the folder Safelight, and return their addresses.

        Overwrites dashboards with the same uid. Raises BadSetting or ServiceFailed.
        """
        self._require_grafana()
        folder = self._folder()
        self._require_prometheus()
        saved: list[str] = []
        for uid, board in boards.items():
            content = {
                "dashboard": {**board, "id": None},
                "folderUid": folder,
                "overwrite": True,
                "message": "Pushed by `safelight grafana push`.",
            }
            try:
                result = self._request(_Saved, "POST", "/api/dashboards/db", json=content)
            except SafelightError as error:
                progress = f"{len(saved)} of {len(boards)} dashboards were saved; {uid} was not."
                raise type(error)(f"{error} {progress}") from None
            saved.append(f"{self._shown}{result.url or f'/d/{uid}'}")
        return saved

    def pull(self) -> dict[str, str]:
        """Return every dashboard with the tag safelight, as text by uid. Raises ServiceFailed."""
        self._require_grafana()
        query: _Params = {"tag": TAG, "type": "dash-db", "limit": _MAX_BOARDS}
        results = self._request(list[_SearchResult], "GET", "/api/search", params=query)
        uids = [result.uid for result in results]
        if invalid := [uid for uid in uids if not _UID.fullmatch(uid)]:
            raise ServiceFailed(
                f"{self._shown} has a dashboard with the invalid uid {invalid[0][:60]!r}. "
                "Change the uid."
            )
        if not uids:
            raise ServiceFailed(
                f"{self._shown} has no dashboard with the tag {TAG}. Run: safelight grafana push"
            )
        return {
            uid: normalized(self._request(_Stored, "GET", f"/api/dashboards/uid/{uid}").dashboard)
            for uid in uids
        }

    def _require_grafana(self) -> None:
        """Raise BadSetting if the server is not a Grafana."""
        response = self._send("GET", "/api/health")
        if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
            self._parse(response, object)
        content = _json(response)
        if not isinstance(content, dict) or "database" not in content:
            raise BadSetting(
                f"{self._shown} is not a Grafana: {self._shown}/api/health returned "
                f"{response.status_code}. Is its path missing, such as /grafana?"
            )

    def _folder(self) -> str:
        """Return the uid of the folder Safelight, and create the folder if it is missing."""
        folder = {"uid": FOLDER_UID, "title": FOLDER_TITLE}
        response = self._send("POST", "/api/folders", json=folder)
        if response.status_code not in (httpx.codes.CONFLICT, httpx.codes.PRECONDITION_FAILED):
            return self._parse(response, _Folder).uid
        # The folder exists. If a user created it by hand, it has the title but another uid.
        if self._send("GET", f"/api/folders/{FOLDER_UID}").is_success:
            return FOLDER_UID
        folders = self._request(list[_Folder], "GET", "/api/folders", params={"limit": 1000})
        uids = [folder.uid for folder in folders if folder.title == FOLDER_TITLE]
        return uids[0] if uids else self._parse(response, _Folder).uid

    def _require_prometheus(self) -> None:
        """Raise ServiceFailed if Grafana has no data source of the type Prometheus."""
        response = self._send("GET", "/api/datasources")
        if response.status_code == httpx.codes.FORBIDDEN:
            return  # an Editor can save dashboards, but cannot list data sources
        if not any(source.type == "prometheus" for source in self._parse(response, list[_Source])):
            raise ServiceFailed(
                f"{self._shown} has no data source of the type Prometheus, which the dashboards "
                "need. Add it under Connections, Data sources."
            )

    def _request(
        self,
        shape: type[T],
        method: str,
        path: str,
        *,
        params: _Params | None = None,
        json: object = None,
    ) -> T:
        return self._parse(self._send(method, path, params=params, json=json), shape)

    def _send(
        self, method: str, path: str, *, params: _Params | None = None, json: object = None
    ) -> httpx.Response:
        try:
            return self._client.request(
                method, f"{self._url}{path}", headers=self._headers, params=params, json=json
            )
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"Grafana at {self._shown} cannot be reached: {error_text(error)}. "
                "Is it running, and is --url its address?"
            ) from None

    def _parse(self, response: httpx.Response, shape: type[T]) -> T:
        """Return the content of a response. Raises an error that says what to do."""
        content = _json(response)
        if response.is_success and content is not None:
            try:
                return TypeAdapter(shape).validate_python(content)
            except ValidationError:
                raise ServiceFailed(
                    f"{self._shown} is not a Grafana, or an unknown version: its response to "
                    f"{response.request.url.path} has another format. Is --url its address?"
                ) from None
        message = _message(content)
        error, remedy = _ERRORS.get(response.status_code, (None, ""))
        if error is None:
            raise ServiceFailed(
                f"Grafana at {self._shown} returned {response.status_code} for "
                f"{response.request.url.path}{message}. See Grafana's log."
            )
        raise error(f"Grafana at {self._shown} returned {response.status_code}{message}. {remedy}")


_ERRORS: dict[int, tuple[type[BadSetting] | type[ServiceFailed], str]] = {
    400: (ServiceFailed, "Dashboards that Grafana provisions from files cannot be overwritten."),
    401: (BadSetting, f"The token is missing, wrong or expired. {_TOKEN}"),
    403: (BadSetting, f"The token's role has no permission for this. {_TOKEN}"),
    404: (BadSetting, "The page is missing. Is --url the address of Grafana, with its path?"),
    412: (
        ServiceFailed,
        "The dashboard belongs to a plugin, or another user is saving it at the same time.",
    ),
}


def _json(response: httpx.Response) -> object:
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
