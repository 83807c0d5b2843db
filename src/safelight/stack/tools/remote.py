"""Boards over Grafana's HTTP API: pushed into its folder Safelight, and pulled back.

What Grafana says no to becomes one line that says what to do; the token appears in none.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from safelight.errors import BadSetting, SafelightError, ServiceFailed
from safelight.stack.programs import why, without_password

FOLDER_UID, FOLDER_TITLE, TAG = "safelight", "Safelight", "safelight"
TIMEOUT_SECONDS = 15.0
_MOST_BOARDS = 500
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")  # Grafana's own rule; here it becomes a file's name
_OWN = ("id", "version")  # Grafana's own of a board: where it lies, and how often it was saved
_LONGEST_TOKEN = 4096
_TOKEN = (
    "Give --token-file a file with the token of a service account that has the role Editor "
    "(Grafana: Administration, Service accounts)."
)

Board = dict[str, Any]
T = TypeVar("T")


class _Folder(BaseModel):
    uid: str
    title: str = ""


class _Source(BaseModel):
    type: str


class _Saved(BaseModel):
    url: str | None = None


class _Found(BaseModel):
    uid: str


class _Kept(BaseModel):
    dashboard: Board


def read_token(file: Path | None) -> str | None:
    """Return the token in a file, if one is named. Raises BadSetting."""
    if file is None:
        return None
    try:
        text = file.expanduser().read_text(encoding="ascii")[: _LONGEST_TOKEN + 1].strip()
    except OSError as wrong:
        raise BadSetting(f"The token file {file} cannot be read: {wrong.strerror}.") from None
    except UnicodeDecodeError:
        text = ""
    if not re.fullmatch(r"[!-~]{1,4096}", text):
        raise BadSetting(f"The token file {file} holds no token; it should be one word. {_TOKEN}")
    return text


def read_boards(folder: Path) -> dict[str, Board]:
    """Return every board of a folder, by its uid. Raises BadSetting."""
    found: dict[str, Board] = {}
    try:
        files = sorted(folder.glob("*.json"))
    except OSError as wrong:
        raise BadSetting(f"The boards cannot be read: {wrong.strerror}.") from None
    for file in files:
        try:
            board = json.loads(file.read_text(encoding="utf-8"))
            found[board["uid"]] = board
        except (OSError, ValueError, KeyError, TypeError):
            raise BadSetting(f"{file} is no board: JSON with a uid. Take it away.") from None
    if not found:
        raise BadSetting(f"There are no boards (*.json) in {folder}.")
    return found


def normal(board: Mapping[str, Any]) -> str:
    """Return a board as text without what is one Grafana's own: the same board, the same text."""
    kept = {name: value for name, value in board.items() if name not in _OWN}
    return json.dumps(kept, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


class Grafana:
    """A Grafana at an address; every refusal is raised as one line."""

    def __init__(self, url: str, client: httpx.Client, token: str | None = None) -> None:
        self._url = url
        self._shown = without_password(url)
        self._client = client
        self._headers = {"accept": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    def push(self, boards: Mapping[str, Board]) -> list[str]:
        """Save every board in the folder Safelight, over what is there; return their addresses."""
        self._recognise()
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
                answer = self._ask(_Saved, "POST", "/api/dashboards/db", json=content)
            except SafelightError as wrong:
                progress = f"{len(saved)} of {len(boards)} boards were saved; {uid} was not."
                raise type(wrong)(f"{wrong} {progress}") from None
            saved.append(f"{self._shown}{answer.url or f'/d/{uid}'}")
        return saved

    def pull(self) -> dict[str, str]:
        """Return every board with the tag safelight, as text by its uid. Raises ServiceFailed."""
        self._recognise()
        wanted = {"tag": TAG, "type": "dash-db", "limit": _MOST_BOARDS}
        uids = [one.uid for one in self._ask(list[_Found], "GET", "/api/search", params=wanted)]
        if strange := [uid for uid in uids if not _UID.fullmatch(uid)]:
            raise ServiceFailed(
                f"{self._shown} has a board whose uid is {strange[0][:60]!r}. Mend it."
            )
        if not uids:
            raise ServiceFailed(
                f"{self._shown} has no board with the tag {TAG}. Run: safelight grafana push"
            )
        return {
            uid: normal(self._ask(_Kept, "GET", f"/api/dashboards/uid/{uid}").dashboard)
            for uid in uids
        }

    def _recognise(self) -> None:
        """Make sure that it is a Grafana. Raises BadSetting."""
        answer = self._send("GET", "/api/health")
        if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
            self._accept(answer, object)
        content = _json(answer)
        if not isinstance(content, dict) or "database" not in content:
            raise BadSetting(
                f"{self._shown} is no Grafana: {self._shown}/api/health answered "
                f"{answer.status_code}. Is its path missing, such as /grafana?"
            )

    def _folder(self) -> str:
        """Return the uid of the folder Safelight, made if it is not there."""
        wanted = {"uid": FOLDER_UID, "title": FOLDER_TITLE}
        answer = self._send("POST", "/api/folders", json=wanted)
        if answer.status_code not in (httpx.codes.CONFLICT, httpx.codes.PRECONDITION_FAILED):
            return self._accept(answer, _Folder).uid
        # It is there; where somebody made it by hand it has the title, but another uid.
        if self._send("GET", f"/api/folders/{FOLDER_UID}").is_success:
            return FOLDER_UID
        listed = self._ask(list[_Folder], "GET", "/api/folders", params={"limit": 1000})
        uids = [one.uid for one in listed if one.title == FOLDER_TITLE]
        return uids[0] if uids else self._accept(answer, _Folder).uid

    def _require_prometheus(self) -> None:
        """Raise ServiceFailed where there is surely nothing that the boards could ask."""
        answer = self._send("GET", "/api/datasources")
        if answer.status_code == httpx.codes.FORBIDDEN:
            return  # an Editor may save boards, but not list the sources
        if not any(source.type == "prometheus" for source in self._accept(answer, list[_Source])):
            raise ServiceFailed(
                f"{self._shown} has no data source of the type Prometheus, which the boards ask. "
                "Add it: Connections, Data sources."
            )

    def _ask(self, shape: type[T], method: str, path: str, **content: Any) -> T:
        return self._accept(self._send(method, path, **content), shape)

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._client.request(
                method, f"{self._url}{path}", headers=self._headers, **content
            )
        except httpx.HTTPError as error:
            raise ServiceFailed(
                f"Grafana at {self._shown} cannot be reached: {why(error)}. "
                "Is it running, and is --url its address?"
            ) from None

    def _accept(self, answer: httpx.Response, shape: type[T]) -> T:
        """Return what was answered, in the shape that Grafana gives it.

        Raises what a refusal means to the operator.
        """
        content = _json(answer)
        if answer.is_success and content is not None:
            try:
                return TypeAdapter(shape).validate_python(content)
            except ValidationError:
                raise ServiceFailed(
                    f"{self._shown} is no Grafana, or a version that we do not know: it answered "
                    f"{answer.request.url.path} in another form. Is --url its address?"
                ) from None
        said = _said(content)
        refused = _REFUSALS.get(answer.status_code)
        if refused is None:
            raise ServiceFailed(
                f"Grafana at {self._shown} answered {answer.status_code} to "
                f"{answer.request.url.path}{said}. Its own log says why."
            )
        kind, means = refused
        raise kind(f"Grafana at {self._shown} answered {answer.status_code}{said}. {means}")


_REFUSALS: dict[int, tuple[type[BadSetting] | type[ServiceFailed], str]] = {
    400: (ServiceFailed, "Boards that Grafana provisions from files cannot be pushed over."),
    401: (BadSetting, f"The token is missing, wrong or expired. {_TOKEN}"),
    403: (BadSetting, f"The token's role may not do this. {_TOKEN}"),
    404: (BadSetting, "Nothing is there. Is --url the address of Grafana, with its path?"),
    412: (ServiceFailed, "The board belongs to a plugin, or somebody saves it at the same time."),
}


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _said(content: Any) -> str:
    """Return Grafana's own words, if it has any, as the end of a sentence's first half."""
    words = content.get("message") if isinstance(content, dict) else None
    line = " ".join(str(words).split()).rstrip(".")[:200] if words else ""
    return f' ("{line}")' if line.isprintable() and line else ""
