"""A small Grafana on 127.0.0.1: the part of its HTTP API that boards need, as its docs tell it.

Folders, dashboards with ids and versions, search, data sources and health; 401 for a wrong token,
403 where its role may not, 404, 409 and 412 as Grafana gives them. `trouble` answers some path
with another status, whatever else is true.
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
Answer = tuple[int, Any]
PROMETHEUS = {"id": 1, "uid": "prom", "name": "Prometheus", "type": "prometheus"}


@dataclass
class FakeGrafana:
    """What it holds, and what it was asked."""

    url: str = ""
    token: str | None = TOKEN
    role: str = "Editor"
    folders: dict[str, str] = field(default_factory=dict)
    datasources: list[dict[str, Any]] = field(default_factory=lambda: [PROMETHEUS])
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder_of: dict[str, str] = field(default_factory=dict)
    provisioned: set[str] = field(default_factory=set)
    trouble: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, authorization: str | None, body: Any) -> Answer:
        """Return status and content of the answer."""
        route = urlsplit(path)
        if route.path == "/api/health":
            return 200, {"database": "ok", "version": "13.2.3"}
        if self.token and authorization != f"Bearer {self.token}":
            return 401, {"message": "Invalid API key", "messageId": "api-key.invalid"}
        if method == "POST" and self.role == "Viewer":
            return 403, {"message": "You'll need additional permissions to perform this action."}
        if method == "POST":
            return self._post(route.path, body)
        return self._get(route.path, parse_qs(route.query))

    def _post(self, path: str, body: Any) -> Answer:
        if path == "/api/folders":
            return self._make_folder(body)
        if path == "/api/dashboards/db":
            return self._save(body)
        return 404, {"message": "Not found"}

    def _make_folder(self, body: Any) -> Answer:
        if body["uid"] in self.folders:
            return 412, {"message": "a folder with the same uid already exists"}
        if body["title"] in self.folders.values():
            return 409, {"message": "a folder with the same name already exists"}
        self.folders[body["uid"]] = body["title"]
        return 200, {"id": len(self.folders), **body, "version": 1}

    def _save(self, body: Any) -> Answer:
        board, uid = body["dashboard"], body["dashboard"]["uid"]
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
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

    def _get(self, path: str, query: dict[str, list[str]]) -> Answer:
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
            wanted = set(query["tag"])
            found = [board for board in self.boards.values() if wanted <= set(board["tags"])]
            return 200, [
                {"uid": one["uid"], "title": one["title"], "type": "dash-db"} for one in found
            ]
        if path.startswith("/api/dashboards/uid/") and name in self.boards:
            return 200, {"dashboard": self.boards[name], "meta": {"folderUid": "safelight"}}
        return 404, {"message": "Dashboard not found"}


@contextmanager
def grafana(**given: Any) -> Iterator[FakeGrafana]:
    """Run one until the end of the block."""
    fake = FakeGrafana(**given)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.asked.append((self.command, self.path))
            trouble = fake.trouble.get(urlsplit(self.path).path)
            if trouble:
                self._send(trouble[0], trouble[1].encode(), "text/html")
                return
            status, content = fake.answer(
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
