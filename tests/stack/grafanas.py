"""A fake Grafana on 127.0.0.1 with the part of its documented HTTP API that dashboards need.

Folders, dashboards with ids and versions, search, data sources and health; errors 401 for a wrong
token, 403 for a role without permission, 404, 409 and 412. `failures` sets the response of a path.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "glsa_0123456789abcdef"
Reply = tuple[int, Any]
PROMETHEUS = {"id": 1, "uid": "prom", "name": "Prometheus", "type": "prometheus"}


@dataclass
class FakeGrafana:
    """The content of the fake Grafana, and the requests it received."""

    url: str = ""
    token: str | None = TOKEN
    role: str = "Editor"
    folders: dict[str, str] = field(default_factory=dict)
    datasources: list[dict[str, Any]] = field(default_factory=lambda: [PROMETHEUS])
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder_of: dict[str, str] = field(default_factory=dict)
    provisioned: set[str] = field(default_factory=set)
    unique_titles: bool = False  # in a folder, as in Grafana 10 and earlier
    failures: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def reply(self, method: str, path: str, authorization: str | None, body: Any) -> Reply:
        """Return the status and content of the response."""
        route = urlsplit(path)
        if route.path == "/api/health":
            return 200, {"database": "ok", "version": "13.2.3"}
        if self.token and authorization != f"Bearer {self.token}":
            return 401, {"message": "Invalid API key", "messageId": "api-key.invalid"}
        if method != "GET" and self.role == "Viewer":
            return 403, {"message": "You'll need additional permissions to perform this action."}
        if method == "POST":
            return self._post(route.path, body)
        if method == "DELETE":
            return self._delete(route.path.removeprefix("/api/dashboards/uid/"))
        return self._get(route.path, parse_qs(route.query))

    def _post(self, path: str, body: Any) -> Reply:
        if path == "/api/folders":
            return self._create_folder(body)
        if path == "/api/dashboards/db":
            return self._save(body)
        return 404, {"message": "Not found"}

    def _create_folder(self, body: Any) -> Reply:
        if body["uid"] in self.folders:
            return 412, {"message": "a folder with the same uid already exists"}
        if body["title"] in self.folders.values():
            return 409, {"message": "a folder with the same name already exists"}
        self.folders[body["uid"]] = body["title"]
        return 200, {"id": len(self.folders), **body, "version": 1}

    def _save(self, body: Any) -> Reply:
        board, uid = body["dashboard"], body["dashboard"]["uid"]
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        same = [
            other
            for other, present in self.boards.items()
            if present["title"] == board["title"] and self.folder_of.get(other) == body["folderUid"]
        ]
        if self.unique_titles and uid not in self.boards and same:
            if not body["overwrite"]:
                message = "A dashboard with the same name in the folder already exists"
                return 412, {"message": message, "status": "name-exists"}
            [uid] = same  # it is overwritten, and keeps its uid
        before = self.boards.get(uid)
        if before and not body["overwrite"] and board.get("version") != before["version"]:
            return 412, {
                "message": "The dashboard has been changed by someone else",
                "status": "version-mismatch",
            }
        number, version = (before["id"], before["version"] + 1) if before else (len(self.boards), 1)
        self.boards[uid] = {**board, "id": number, "version": version}
        self.folder_of[uid] = body["folderUid"]
        url = f"/d/{uid}/a-slug"
        return 200, {"id": number, "uid": uid, "url": url, "status": "success", "version": version}

    def _delete(self, uid: str) -> Reply:
        if uid in self.provisioned:
            return 400, {"message": "provisioned dashboard cannot be deleted"}
        if uid not in self.boards:
            return 404, {"message": "Dashboard not found"}
        title = self.boards.pop(uid)["title"]
        return 200, {"title": title, "message": f"Dashboard {title} deleted", "id": 2}

    def _get(self, path: str, query: dict[str, list[str]]) -> Reply:
        name = path.rpartition("/")[2]
        if path == "/api/folders":
            return 200, [{"uid": uid, "title": title} for uid, title in self.folders.items()]
        if path.startswith("/api/folders/") and name in self.folders:
            return 200, {"uid": name, "title": self.folders[name]}
        if path == "/api/datasources":
            if self.role != "Admin":
                return 403, {"message": "You'll need additional permissions: datasources:read"}
            return 200, self.datasources
        if path == "/api/search":
            tags = set(query["tag"])
            boards = [board for board in self.boards.values() if tags <= set(board["tags"])]
            return 200, [
                {
                    "uid": board["uid"],
                    "title": board["title"],
                    "type": "dash-db",
                    "folderUid": self.folder_of.get(board["uid"]),
                }
                for board in boards
            ]
        if path.startswith("/api/dashboards/uid/") and name in self.boards:
            return 200, {"dashboard": self.boards[name], "meta": {"folderUid": "safelight"}}
        return 404, {"message": "Dashboard not found"}


def _handler(fake: FakeGrafana) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def do_DELETE(self) -> None:
            self._reply()

        def _reply(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.requests.append((self.command, self.path))
            failure = fake.failures.get(urlsplit(self.path).path)
            if failure:
                self._send(failure[0], failure[1].encode(), "text/html")
                return
            status, content = fake.reply(
                self.command, self.path, self.headers.get("authorization"), body
            )
            self._send(status, json.dumps(content).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def grafana(**content: Any) -> Iterator[FakeGrafana]:
    """Run a fake Grafana until the end of the block."""
    fake = FakeGrafana(**content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
