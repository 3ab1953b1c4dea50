"""A stand-in of the Hugging Face hub on this machine: as much of its protocol as a model's download and upload need."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

WRITES, READS = "hf_may_write", "hf_may_read"
"""Tokens that the hub knows."""
OWNER = "somebody"
"""The only name under which those who may write may write."""


@dataclass(slots=True)
class Repository:
    private: bool = False
    branches: dict[str, str] = field(default_factory=lambda: {"main": sha(b"")})
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {sha(b""): {}})

    def commit_of(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[revision]]

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        name = sha(json.dumps([branch, *((name, sha(content)) for name, content in files.items())]).encode())
        self.commits[name], self.branches[branch] = files, name
        return name


def sha(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@dataclass(slots=True)
class StandInHub:
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""
    address: str = ""

    @property
    def files_sent(self) -> set[str]:
        """Names of the files whose contents were asked for."""
        return {path.split("/", 6)[-1] for path in self.asked if path.startswith("GET /") and "/resolve/" in path}

    def add(self, name: str, folder: Path, more: dict[str, bytes] | None = None) -> Repository:
        """Put all files of `folder`, and `more`, into a public repository."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repositories[name] = Repository()
        self.repositories[name].commit(files | (more or {}))
        return self.repositories[name]


@contextmanager
def running() -> Iterator[StandInHub]:
    hub = StandInHub()

    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use(address: str, home: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub, which reads the environment when it is imported, ask `address`, with a cache in `home`."""
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", address)
    monkeypatch.setattr(
        f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(f"{constants}.HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", token)


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._work()

    def do_HEAD(self) -> None:
        self._work()

    def do_POST(self) -> None:
        self._work()

    def _work(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        for pattern, answer in (
            (r"/api/validate-yaml", self._valid), (r"/api/repos/create", self._create),
            (r"/api/models/([^/]+/[^/]+)/branch/(.+)", self._branch),
            (r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self._preupload),
            (r"/api/models/([^/]+/[^/]+)/commit/(.+)", self._commit),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._info),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self._tree),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._file),
        ):  # fmt: skip
            if match := re.fullmatch(pattern, path):
                answer(token, body, *match.groups())
                return
        self._say(404, {"error": "no such address"})

    def _say(self, status: int, content: object, **headers: str) -> None:
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    def _may_write(self, token: str, owner: str) -> bool:
        if token not in (WRITES, READS):
            self._say(401, {"error": "Invalid username or password."})
        elif token != WRITES or owner != OWNER:
            self._say(403, {"error": "You don't have the rights to write here"}, X_Error_Message="You have no rights")
        return token == WRITES and owner == OWNER

    def _found(self, token: str, name: str, revision: str | None) -> tuple[Repository, str] | None:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and token not in (WRITES, READS)):
            known = token in (WRITES, READS)
            self._say(404 if known else 401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        commit = found.commit_of(revision or "main")
        if commit is None:
            self._say(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
            return None
        return found, commit

    def _valid(self, token: str, body: bytes) -> None:
        self._say(200, {"errors": [], "warnings": []})

    def _create(self, token: str, body: bytes) -> None:
        asked = json.loads(body)
        if not self._may_write(token, asked["organization"]):
            return
        name = f"{asked['organization']}/{asked['name']}"
        there = name in self.hub.repositories
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.repositories.setdefault(name, Repository(private=private))
        self._say(409 if there else 200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _branch(self, token: str, body: bytes, name: str, branch: str) -> None:
        found = self.hub.repositories[name]
        if self._may_write(token, name.partition("/")[0]):
            there = branch in found.branches
            found.branches.setdefault(branch, found.branches["main"])
            self._say(409 if there else 200, {})

    def _preupload(self, token: str, body: bytes, name: str, revision: str) -> None:
        if self._may_write(token, name.partition("/")[0]):
            names = [file["path"] for file in json.loads(body)["files"]]
            self._say(
                200, {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in names]}
            )

    def _commit(self, token: str, body: bytes, name: str, revision: str) -> None:
        if not self._may_write(token, name.partition("/")[0]):
            return
        found = self.hub.repositories[name]
        files = dict(found.files(revision))
        for line in body.splitlines():
            said = json.loads(line)
            if said["key"] == "file":
                files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
            elif said["key"] == "deletedFile":
                del files[said["value"]["path"]]
        commit = found.commit(files, revision)
        self._say(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit})

    def _info(self, token: str, body: bytes, name: str, revision: str | None) -> None:
        if there := self._found(token, name, revision):
            found, commit = there
            files = [{"rfilename": path} for path in found.commits[commit]]
            self._say(200, {"id": name, "sha": commit, "private": found.private, "siblings": files})

    def _tree(self, token: str, body: bytes, name: str, revision: str) -> None:
        if there := self._found(token, name, revision):
            found, commit = there
            files = [
                {"type": "file", "path": path, "size": len(content), "oid": sha(content)}
                for path, content in found.commits[commit].items()
            ]
            self._say(200, files)

    def _file(self, token: str, body: bytes, name: str, revision: str, path: str) -> None:
        if there := self._found(token, name, revision):
            found, commit = there
            content = found.commits[commit].get(path)
            if content is None:
                self._say(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            else:
                self._say(200, content, ETag=f'"{sha(content)}"', X_Repo_Commit=commit)
