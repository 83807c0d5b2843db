"""Push dashboards to Grafana's HTTP API, into the folder Safelight, and pull them back.

Every error of Grafana becomes one line that says what to do. No message contains the token.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import httpx
from pydantic import BaseModel, Field

from safelight.dashboards.replaced import replacement
from safelight.errors import BadSetting, SafelightError, ServiceFailed
from safelight.stack.files.document import Document
from safelight.stack.tools.grafana_api import TOKEN_ADVICE, GrafanaApi, Params, content_of

FOLDER_UID, FOLDER_TITLE, TAG = "safelight", "Safelight", "safelight"
TIMEOUT_SECONDS = 15.0
_MAX_BOARDS = 500
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")  # Grafana's rule; here the uid becomes a file name
_INSTANCE_FIELDS = ("id", "version")  # differ between Grafanas with the same dashboard
_MAX_TOKEN_LENGTH = 4096

Board = Document


class _Folder(BaseModel):
    uid: str
    title: str = ""


class _Source(BaseModel):
    type: str


class _Saved(BaseModel):
    url: str | None = None
    uid: str | None = None


class _SearchResult(BaseModel):
    uid: str
    title: str = ""
    folder: str | None = Field(None, alias="folderUid")


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
        raise BadSetting(f"The token file {file} contains no token of one word. {TOKEN_ADVICE}")
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
            explanation = replacement(board["uid"])
        except (OSError, ValueError, KeyError, TypeError):
            raise BadSetting(
                f"{file} is not a dashboard: it needs JSON with a uid. Remove the file."
            ) from None
        if explanation:
            raise BadSetting(
                f"{file} is a dashboard of an earlier version. {explanation} Remove the file, or "
                "give the dashboard another uid to keep it."
            )
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
        self._api = GrafanaApi(url, client, token)
        self._shown = self._api.shown

    def outdated(self, uids: Collection[str]) -> list[str]:
        """Return which of these dashboards are in Grafana with the tag safelight."""
        self._require_grafana()
        return sorted({result.uid for result in self._search()} & set(uids))

    def push(self, boards: Mapping[str, Board], *, delete: Collection[str] = ()) -> list[str]:
        """Save every dashboard in the folder Safelight, and return their addresses.

        Overwrites dashboards with the same uid. Before that, deletes those with the uids in
        `delete`. Raises BadSetting or ServiceFailed.
        """
        self._require_grafana()
        folder = self._folder()
        self._require_prometheus()
        self._require_free_titles(boards, folder, delete)
        for uid in delete:
            self._delete(uid)
        saved: list[str] = []
        for uid, board in boards.items():
            try:
                saved.append(self._save(uid, board, folder))
            except SafelightError as error:
                progress = f"{len(saved)} of {len(boards)} dashboards were saved; {uid} was not."
                raise type(error)(f"{error} {progress}") from None
        return saved

    def pull(self) -> dict[str, str]:
        """Return every dashboard with the tag safelight, as text by uid. Raises ServiceFailed."""
        self._require_grafana()
        uids = [result.uid for result in self._search()]
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
            uid: normalized(
                self._api.request(_Stored, "GET", f"/api/dashboards/uid/{uid}").dashboard
            )
            for uid in uids
        }

    def _delete(self, uid: str) -> None:
        response = self._api.send("DELETE", f"/api/dashboards/uid/{uid}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return  # the search of a new Grafana lags behind
        try:
            self._api.parse(response, object)
        except SafelightError as error:
            raise type(error)(f"{error} {uid} was not deleted, and nothing was saved.") from None

    def _search(self) -> list[_SearchResult]:
        """Return the dashboards with the tag safelight."""
        query: Params = {"tag": TAG, "type": "dash-db", "limit": _MAX_BOARDS}
        return self._api.request(list[_SearchResult], "GET", "/api/search", params=query)

    def _save(self, uid: str, board: Board, folder: str) -> str:
        """Save a dashboard, whatever version Grafana has of it, and return its address."""
        content = {
            "dashboard": {**board, "id": None},
            "folderUid": folder,
            "overwrite": True,
            "message": "Pushed by `safelight grafana push`.",
        }
        result = self._api.request(_Saved, "POST", "/api/dashboards/db", json=content)
        if result.uid not in (None, uid):
            raise ServiceFailed(self._same_title(str(result.uid), str(board.get("title"))))
        return f"{self._shown}{result.url or f'/d/{uid}'}"

    def _require_free_titles(
        self, boards: Mapping[str, Board], folder: str, deleted: Collection[str]
    ) -> None:
        """Raise ServiceFailed if another dashboard in the folder has a title of these.

        Grafana 10 and earlier would overwrite that one, which keeps its uid: links would break.
        """
        titles = {board.get("title") for board in boards.values()}
        for result in self._search():
            if result.uid in boards or result.uid in deleted or result.folder != folder:
                continue
            if result.title in titles:
                raise ServiceFailed(self._same_title(result.uid, result.title))

    def _same_title(self, uid: str, title: str) -> str:
        explanation = replacement(uid)
        remedy = "Add --prune." if explanation else "Delete, rename or move it, and push again."
        return (
            f"{self._shown} has another dashboard with the title {title[:60]!r} in the folder "
            f"{FOLDER_TITLE}; its uid is {uid[:60]}. {explanation}".rstrip()
            + f" {remedy}"
        )

    def _require_grafana(self) -> None:
        """Raise BadSetting if the server is not a Grafana."""
        response = self._api.send("GET", "/api/health")
        if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
            self._api.parse(response, object)
        content = content_of(response)
        if not isinstance(content, dict) or "database" not in content:
            raise BadSetting(
                f"{self._shown} is not a Grafana: {self._shown}/api/health returned "
                f"{response.status_code}. Is its path missing, such as /grafana?"
            )

    def _folder(self) -> str:
        """Return the uid of the folder Safelight, and create the folder if it is missing."""
        folder = {"uid": FOLDER_UID, "title": FOLDER_TITLE}
        response = self._api.send("POST", "/api/folders", json=folder)
        if response.status_code not in (httpx.codes.CONFLICT, httpx.codes.PRECONDITION_FAILED):
            return self._api.parse(response, _Folder).uid
        # The folder exists. If a user created it by hand, it has the title but another uid.
        if self._api.send("GET", f"/api/folders/{FOLDER_UID}").is_success:
            return FOLDER_UID
        folders = self._api.request(list[_Folder], "GET", "/api/folders", params={"limit": 1000})
        uids = [folder.uid for folder in folders if folder.title == FOLDER_TITLE]
        return uids[0] if uids else self._api.parse(response, _Folder).uid

    def _require_prometheus(self) -> None:
        """Raise ServiceFailed if Grafana has no data source of the type Prometheus."""
        response = self._api.send("GET", "/api/datasources")
        if response.status_code == httpx.codes.FORBIDDEN:
            return  # an Editor can save dashboards, but cannot list data sources
        if not any(
            source.type == "prometheus" for source in self._api.parse(response, list[_Source])
        ):
            raise ServiceFailed(
                f"{self._shown} has no data source of the type Prometheus, which the dashboards "
                "need. Add it under Connections, Data sources."
            )
