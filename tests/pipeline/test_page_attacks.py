"""The page of `make app` under attack, over real sockets: other sites, other names, other files, too much."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parents[2]
LARGEST = 2
"""MB of the largest upload."""
CHAT = b"Ann: What a day!\nBob: No. It is not.\n"
JSON = {"Content-Type": "application/json"}


@dataclass
class Page:
    """A running page."""

    process: subprocess.Popen
    port: int
    temporary: Path
    """Where its folder lies."""

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str | None] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; a header that is None is not sent, and Host is the page's own if none is given."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        wanted = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        link.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in wanted.items():
            if value is not None:
                link.putheader(name, value)
        if body is not None and "Transfer-Encoding" not in wanted:
            link.putheader("Content-Length", str(len(body)))
        link.endheaders(body)
        answer = link.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        link.close()
        return found

    def raw(self, content: bytes) -> bytes:
        """Send bytes as they are, and return what comes back until the page closes or is silent for a second."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
            link.sendall(content)
            found = b""
            try:
                while part := link.recv(65536):
                    found += part
            except (TimeoutError, ConnectionResetError):
                pass
            return found

    def upload(self, name: str, content: bytes, headers: dict[str, str | None] | None = None) -> tuple[int, list[str]]:
        body, kind = multipart(name, content)
        status, _, answer = self.ask("POST", "/gradio_api/upload", body, {"Content-Type": kind, **(headers or {})})
        return status, json.loads(answer) if status == 200 else []

    def predict(self, transcript: str) -> str:
        """Ask for the prediction of a file with this path, as the page's own script does; the last answer is HTML."""
        session = "attack"
        data = [None, {"path": transcript, "meta": {"_type": "gradio.FileData"}, "orig_name": Path(transcript).name}]
        body = json.dumps({"data": data, "fn_index": 0, "session_hash": session, "event_data": None}).encode()
        status, _, answer = self.ask("POST", "/gradio_api/queue/join", body, {**JSON})
        if status != 200:
            return f"{status} {answer.decode()}"
        _, _, stream = self.ask("GET", f"/gradio_api/queue/data?session_hash={session}")
        said = [json.loads(line[5:]) for line in stream.decode().split("\n") if line.startswith("data:")]
        return str([one for one in said if one["msg"] == "process_completed"][-1]["output"])

    def folders(self) -> list[Path]:
        return sorted(self.temporary.glob("cmath-page-*"))

    def uploads(self) -> set[str]:
        """Names of files with any content; that of an upload which has not ended begins with tmp."""
        there = [path for folder in self.folders() for path in (folder / "uploads").rglob("*")]
        return {path.name for path in there if path.is_file() and path.stat().st_size}


def multipart(name: str, content: bytes) -> tuple[bytes, str]:
    head = f'--limit\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--limit--\r\n", "multipart/form-data; boundary=limit"


@contextmanager
def running(trained: Path, folder: Path, *options: str) -> Iterator[Page]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pipeline.app", "--model", str(trained / "models/demo"), "--port", str(port),
               "--largest", str(LARGEST), *options]  # fmt: skip
    places = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": places, "CMATH_WORKERS": "1", "TMPDIR": str(temporary),
                   "CMATH_CACHE": str(folder / "cache")}  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=(folder / "log").open("w"))
    page = Page(process, port, temporary)
    try:
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                assert page.ask("GET", "/")[0] == 200
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield page
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def page(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with running(trained, tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost:{port}.evil.example", "", None,
     "127.0.0.1:{port}@evil.example", "[::]:{port}", "0.0.0.0:{port}", "127.0.0.1.evil.example:{port}",
     "2130706433:{port}"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/config", "/reports/x/report.html", "/gradio_api/queue/data?session_hash=a"])
def test_another_name_gets_no_answer(page: Page, host: str | None, path: str) -> None:
    name = host.format(port=page.port) if host is not None else None
    status, _, body = page.ask("GET", path, headers={"Host": name})
    assert status in (400, 403)
    assert b"gradio" not in body
    own = f"127.0.0.1:{page.port}"
    for sent in (f"GET {path} HTTP/1.0\r\n\r\n", f"GET {path} HTTP/1.1\r\nHost: {name}\r\nHost: {own}\r\n\r\n",
                 f"GET http://{own}{path} HTTP/1.1\r\nHost: {name}\r\n\r\n"):  # fmt: skip
        assert re.match(rb"HTTP/1.1 (400|403) ", page.raw(sent.encode()))


def test_the_pages_own_names_are_answered(page: Page) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        host = f"{name}:{page.port}"
        assert page.ask("GET", "/", headers={"Host": host})[0] == 200
        assert page.ask("GET", "/", headers={"Host": host, "Origin": f"http://{host}"})[0] == 200
        assert page.ask("GET", "/", headers={"Host": host, "Sec-Fetch-Site": "none"})[0] == 200


FOREIGN = [
    {"Origin": "null"}, {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": ""},
    {"Origin": "https://127.0.0.1:{port}"}, {"Origin": "http://127.0.0.1:{port}.evil.example"},
    {"Origin": "http://evil.example:{port}"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"},
]  # fmt: skip


@pytest.mark.parametrize("forged", FOREIGN)
def test_another_site_can_neither_read_nor_write(page: Page, forged: dict[str, str]) -> None:
    headers: dict[str, str | None] = {name: value.format(port=page.port) for name, value in forged.items()}
    before = page.uploads()
    for path in ("/", "/config", "/reports/x/report.html", "/gradio_api/queue/data?session_hash=a", "/theme.css"):
        status, answered, _ = page.ask("GET", path, headers=headers)
        assert status == 403
        assert "access-control-allow-origin" not in answered
    assert page.upload("evil.txt", CHAT, headers)[0] == 403
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        assert page.ask("POST", "/gradio_api/queue/join", b"{}", {"Content-Type": kind, **headers})[0] == 403
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    status, answered, _ = page.ask("OPTIONS", "/gradio_api/upload", headers={**preflight, **headers})
    assert status == 403
    assert "access-control-allow-origin" not in answered
    assert page.uploads() == before


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/file=http://127.0.0.1:1/", "/gradio_api/file=params.yaml",
     "/gradio_api/%66ile=/etc/passwd", "//gradio_api/file=/etc/passwd", "/assets/../gradio_api/file=/etc/passwd",
     "/assets/..%2f..%2f..%2f..%2fetc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/gradio_api/file/etc/passwd",
     "/gradio_api/proxy=http://127.0.0.1:1/", "/reports", "/reports/", "/reports/../", "/reports/..%2f..%2fetc/passwd",
     "/gradio_api/stream/a/b/c/playlist.m3u8", "/monitoring", "/docs", "/openapi.json", "/gradio_api/openapi.json",
     "/gradio_api/vibe-code", "/gradio_api/mcp/sse", "/gradio_api/deep_link", "/gradio_api/runs", "/assets/%0a",
     "/gradio_api/custom_component/a/server/b/c", "/dev/reload", "/login", "/gradio_api/profiling/traces",
     "/.git/config"],
)  # fmt: skip
def test_no_other_file_and_no_list_of_files_can_be_read(page: Page, path: str) -> None:
    for method in ("GET", "HEAD"):
        status, _, body = page.ask(method, path)
        assert status in (403, 404)
        assert b"root:" not in body
    assert page.ask("POST", path, b"{}", {**JSON})[0] in (403, 404, 405)


def test_an_upgrade_to_a_websocket_is_none(page: Page) -> None:
    host = f"127.0.0.1:{page.port}"
    ask = (f"GET /gradio_api/queue/join HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{}\r\n")  # fmt: skip
    for more in ("", "Origin: http://evil.example\r\n"):
        assert not page.raw(ask.format(more).encode()).startswith(b"HTTP/1.1 101")


def test_a_request_cannot_name_a_file_that_was_not_uploaded(page: Page, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"Ann: The secret word is opal.\n")
    for path in (str(secret), f"{page.folders()[0]}/uploads/../../../secret.txt", "http://127.0.0.1:1/a.txt", "a.txt",
                 "file:///etc/passwd", "/etc/passwd\0", "n" * 5000, str(page.folders()[0])):  # fmt: skip
        assert page.predict(path).startswith("403 ")
    twice = f'{{"data": [null, {{"path": "{secret}", "path": "x", "meta": {{"_type": "gradio.FileData"}}}}]}}'
    for body in (twice.encode(), b'{"data": [{"path": 3}]}'):
        assert page.ask("POST", "/gradio_api/queue/join", body, {**JSON})[0] == 403
    for body in (b"", b"{", b"[" * 100_000, b"\xff"):
        assert page.ask("POST", "/gradio_api/queue/join", body, {**JSON})[0] == 400
    assert page.ask("POST", "/gradio_api/queue/join", b" " * (10**6 + 1), {**JSON})[0] == 413


def test_a_transcript_may_name_no_file_of_the_machine(page: Page, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").touch()
    for column in ("file", "audio"):
        status, (path,) = page.upload("t.csv", f"text,{column}\nHello.,{tmp_path}/secret.mp4\n".encode())
        assert status == 200
        answer = page.predict(path)
        assert "t.csv, line 2: names the file" in answer
        assert "the page reads uploaded files alone" in answer
        assert "/reports/" not in answer


def test_a_report_has_an_address_that_cannot_be_guessed_and_headers_that_keep_it_in(page: Page) -> None:
    _, (path,) = page.upload("../../talk <b>.txt", CHAT)
    secrets = []
    for _ in range(2):
        answer = page.predict(path)
        secrets.append(re.search(r"/reports/([\w-]{43})/report\.html", answer)[1])
    assert secrets[0] != secrets[1]
    status, headers, body = page.ask("GET", f"/reports/{secrets[0]}/report.html")
    assert status == 200
    assert b"What a day!" in body
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    for answered in (headers, page.ask("GET", "/")[1], page.ask("GET", "/nothing")[1]):
        assert answered["x-content-type-options"] == "nosniff"
        assert answered["referrer-policy"] == "no-referrer"
        assert answered["x-frame-options"] == "SAMEORIGIN"
        assert answered["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'self'" in answered["content-security-policy"]
    for name in ("", "..", "../..", "../../uploads", "%2e%2e/%2e%2e/uploads", "nothing.html", "/etc/passwd"):
        assert page.ask("GET", f"/reports/{secrets[0]}/{name}")[0] == 404
    assert page.ask("GET", f"/reports/{secrets[0][:-1]}/report.html")[0] == 404
    assert page.ask("GET", f"/reports/{secrets[0]}/report.html", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403


def sent_until_answered(page: Page, begin: bytes, head: bytes) -> tuple[int, bytes]:
    """Send an upload that never ends by itself: how much was sent before there was an answer, and the answer."""
    with socket.create_connection(("127.0.0.1", page.port)) as link:
        link.sendall(begin + b"%x\r\n%s\r\n" % (len(head), head))
        sent, answer = 0, b""
        while sent < 20 * LARGEST * 10**6 and not answer:
            link.settimeout(20)
            link.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            link.setblocking(False)
            with suppress(BlockingIOError):
                answer = link.recv(65536)
    return sent, answer


def test_an_upload_is_refused_while_it_comes(page: Page) -> None:
    before = page.uploads()
    host = f"Host: 127.0.0.1:{page.port}\r\nContent-Type: multipart/form-data; boundary=limit\r\n"
    said = page.raw(f"POST /gradio_api/upload HTTP/1.1\r\n{host}Content-Length: 999999999999\r\n\r\n--limit".encode())
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 2 MB" in said
    begin = f"POST /gradio_api/upload HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n".encode()
    file, _, _ = multipart("large.txt", b"")[0].partition(b"\r\n--limit--")
    for head in (file, file.replace(b'; filename="large.txt"', b"")):  # a file, and a field, which lies in memory
        sent, answer = sent_until_answered(page, begin, head)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert sent < 5 * LARGEST * 10**6
    until(lambda: page.uploads() == before)  # nor is there a half of it
    with socket.create_connection(("127.0.0.1", page.port)) as link:  # and one whose sender goes
        link.sendall(begin + b"%x\r\n%s" % (10**6, file + b"x" * 900_000))
        until(lambda: page.uploads() != before)
    until(lambda: page.uploads() == before)
    assert page.upload("small.txt", CHAT)[0] == 200


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_all_goes_when_the_page_ends(trained: Path, tmp_path: Path) -> None:
    with running(trained, tmp_path / "page") as page:
        _, (path,) = page.upload("talk.txt", CHAT)
        assert "/reports/" in page.predict(path)
        (folder,) = page.folders()
        assert folder.stat().st_mode & 0o077 == 0
        assert {"talk.txt", "report.html"} <= {file.name for file in folder.rglob("*")}
        with socket.create_connection(("127.0.0.1", page.port)) as idle:  # an open page does not hold it up
            idle.sendall(f"GET /gradio_api/heartbeat/abc HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n".encode())
            idle.recv(100)
            page.process.send_signal(signal.SIGTERM)
            assert page.process.wait(30) == 128 + signal.SIGTERM
    assert list((tmp_path / "page/temporary").iterdir()) == []
    assert "Traceback" not in (tmp_path / "page/log").read_text()
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"temporary", "log", "cache"}


def test_what_is_kept_stays_and_what_a_killed_page_left_goes(trained: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with running(trained, tmp_path / "page", "--keep", str(kept)) as page:
        for name in ("talk.txt", "Talk.txt", "...txt"):
            _, (path,) = page.upload(name, CHAT)
            assert "/reports/" in page.predict(path)
        _, (path,) = page.upload("bad.csv", b"words\nHello.\n")
        assert "bad.csv, line 1: no column text" in page.predict(path)
        (left,) = page.folders()
        page.process.kill()
        page.process.wait()
    assert left.is_dir()
    results = {"predictions.csv", "predictions.json", "report.html"}
    assert len({path.name.casefold() for path in kept.iterdir()}) == 3
    assert {"talk", "Talk (2)"} <= {path.name for path in kept.iterdir()}
    assert all({path.name for path in folder.iterdir()} == results for folder in kept.iterdir())
    with running(trained, tmp_path / "page") as page:
        assert not left.exists()
        used = ["-m", "pipeline.app", "--model", str(trained / "models/demo"), "--port", str(page.port)]
        environment = {**os.environ, "TMPDIR": str(page.temporary)}
        refused = subprocess.run(
            [sys.executable, *used], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
        )
        assert f"error: --port {page.port}: cannot be opened" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert len(page.folders()) == 1  # each leaves the other's alone
        page.process.send_signal(signal.SIGINT)
        assert page.process.wait(30) == 0
        assert page.folders() == []
    assert "Traceback" not in (tmp_path / "page/log").read_text()


FOLDER = """
import sys
from pipeline.prediction.page_folder import page_folder

with page_folder() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(temporary: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A process that has the folder of a page, without the page."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", FOLDER]
    with subprocess.Popen(command, env=environment, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:  # fmt: skip
        yield process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_removes_the_folder(tmp_path: Path, number: int) -> None:
    with holding(tmp_path) as (process, folder):
        assert (folder / "file").is_file()
        process.send_signal(number)
        process.wait(10)
    assert list(tmp_path.iterdir()) == []


def test_only_the_folder_of_a_killed_page_is_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "cmath-page-link").symlink_to(tmp_path / "precious")
    (tmp_path / "cmath-page-file").touch()
    with holding(tmp_path) as (first, killed):
        first.kill()
        first.wait()
    assert killed.is_dir()
    with holding(tmp_path) as (_, running), holding(tmp_path) as (_, other):
        assert not killed.exists()
        assert (running / "file").is_file()
        assert (other / "file").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "cmath-page-link", "cmath-page-file"}
