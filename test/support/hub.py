# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Enough of the Hugging Face hub's API to push to: repositories, LFS uploads, commits and tags, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """What was pushed.

    Attributes:
        refuses: part of a path to the status that it is answered with.
        token: that it takes.
        repositories: "models/user/name" to the files by path.
        private: names of private ones.
        tags: names by repository.
        stored: uploads by SHA-256.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuses: dict[str, int] = {}
        self.token = "hf_good"
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.tags: dict[str, list[str]] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, as far as a push asks."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refused(self, body: bytes) -> bool:
        self.server.requests.append(f"{self.command} {self.path}")
        if (
            not self.path.startswith("/storage/")
            and self.headers.get("Authorization") != f"Bearer {self.server.token}"
        ):
            self.answer({"error": "Invalid credentials in Authorization header"}, 401)
            return True
        for part, status in self.server.refuses.items():
            if part in self.path:
                self.answer({"error": f"no {part} for you"}, status)
                return True
        return False

    def do_POST(self) -> None:
        body = self.body()
        if self.refused(body):
            return
        hub, path = self.server, self.path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            kind = asked.get("type", "model")
            name = f"{kind}s/{asked.get('organization') or 'me'}/{asked['name']}"
            hub.repositories.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                hub.private.add(name)
            shown = name.removeprefix("models/")
            self.answer({"url": f"{hub.address}/{shown}", "id": name.partition("/")[2], "name": name})
        elif path == "/api/validate-yaml":  # of the card's header
            header = json.loads(body)["content"].split("---")[1]
            errors = [] if "license:" in header else [{"message": '"license" is required'}]
            self.answer({"errors": errors, "warnings": []})
        elif path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            large = (".parquet", ".mp4", ".safetensors")
            modes = [
                {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                 "shouldIgnore": False, "oid": None}
                for file in files
            ]  # fmt: skip
            self.answer({"files": modes})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {"oid": item["oid"], "size": item["size"], "authenticated": True,
                 "actions": {"upload": {"href": f"{hub.address}/storage/{item['oid']}", "header": {}}}}
                for item in json.loads(body)["objects"]
            ]  # fmt: skip
            self.answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self.commit(path, body)
        elif "/tag/" in path:
            hub.tags.setdefault(repository(path), []).append(json.loads(body)["tag"])
            self.answer({})
        else:
            self.answer({"error": "unknown"}, 404)

    def do_DELETE(self) -> None:
        if not self.refused(self.body()):
            self.server.tags[repository(self.path)].remove(self.path.rpartition("/")[2])
            self.answer({})

    def commit(self, path: str, body: bytes) -> None:
        hub = self.server
        files = hub.repositories[repository(path)]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = hub.stored[value["oid"]]
        self.answer(
            {"commitUrl": f"{hub.address}/me/name/commit/abc", "commitOid": "abc", "pullRequestUrl": None}
        )

    def do_PUT(self) -> None:
        data = self.body()
        if not self.refused(data):
            oid = self.path.rpartition("/")[2]
            assert hashlib.sha256(data).hexdigest() == oid
            self.server.stored[oid] = data
            self.answer({})

    def do_GET(self) -> None:
        if self.refused(b""):
            return
        if self.path.partition("?")[0].endswith("/refs"):
            tags = self.server.tags.get(repository(self.path), [])
            entries = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": "abc"} for tag in tags]
            self.answer({"branches": [], "converts": [], "tags": entries})
        else:
            self.answer({"error": "unknown"}, 404)


def repository(path: str) -> str:
    """The kind, user and name in a path of the API."""
    return "/".join(path.split("/")[2:5])


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a port of this machine."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
