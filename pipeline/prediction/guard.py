"""Guard of the page: only this machine's own browser gets an answer, and it sends no more than is allowed.

Any site that the user opens can make the browser send requests to 127.0.0.1, and by DNS rebinding even under a name of
its own. So each request must name the page itself as its host, and must not come from another site (Origin,
Sec-Fetch-Site). gradio has many more routes than the page needs; the others, among them those that read files or
addresses, do not exist here.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine under which the page may be opened."""
UPLOAD = "/gradio_api/upload"
OPEN = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*"
    r"|/gradio_api/(startup-events|theme\.css|app_id|info|upload|upload_progress|queue/join|queue/data|cancel|reset"
    r"|heartbeat/[a-z0-9]+)|/reports/.*"
)
"""Paths that the page needs."""
SMALL = 10**6
"""Bytes of a request that is no upload; the page's own have a few hundred."""
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Content security policy: the browser may load from this server only (gradio's page also asks for other sources)."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer that does not have its own."""
LINGERING = 2.0
"""Seconds for which the rest of what is too large is received after the refusal."""
OF_PROXIES = (b"forwarded", b"x-forwarded-", b"x-real-ip")
"""Beginnings of headers that are dropped: there is no proxy before the page, and gradio would believe them."""


class Refusal(Exception):
    """A request that is not answered, with the status and the words that are sent instead."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Guard:
    """The application of the page, with the checks before it."""

    def __init__(self, app: App, port: int, largest: int, uploads: Path) -> None:
        """Make the guard of `app`.

        Args:
            port: the port of the page.
            largest: bytes of the largest upload.
            uploads: the folder into which gradio writes uploads.
        """
        self.app, self.largest, self.uploads = app, largest, uploads.resolve()
        self.hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
        self._uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        guarded = _Sending(send)
        try:
            self._require_own(scope)
            scope["headers"] = [one for one in scope["headers"] if not one[0].startswith(OF_PROXIES)]
            if scope["method"] != "POST":
                await self.app(scope, receive, guarded)
            elif scope["path"] == UPLOAD:
                await self._upload(scope, receive, guarded)
            else:
                content = _read(await _whole(receive, _length(scope, SMALL)))
                self._require_own_files(content)
                # What was checked is passed on, and not what was sent, which another reader may read in another way.
                await self.app(scope, _given(json.dumps(content).encode(), receive), guarded)
        except Refusal as refusal:
            await guarded.refuse(refusal, receive)
        except asyncio.CancelledError:  # the page ends, and a browser that shows it still listens
            pass

    def _require_own(self, scope: Scope) -> None:
        """Raise Refusal unless the request is for this page, and from itself or from the address line."""
        given: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value.decode("latin-1").lower())
        hosts = given.get(b"host", [])
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            raise Refusal(403, "This page answers only as http://127.0.0.1:PORT and http://localhost:PORT.")
        if any(origin.removeprefix("http://") not in self.hosts or not origin.startswith("http://")
               for origin in given.get(b"origin", [])):  # fmt: skip
            raise Refusal(403, "This page answers no other site.")
        if not set(given.get(b"sec-fetch-site", [])) <= {"same-origin", "none"}:
            raise Refusal(403, "This page answers no other site. Type its address, instead of following a link.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refusal(405, "The page takes GET, HEAD and POST.")
        if not OPEN.fullmatch(scope["path"]) or ".." in scope["path"].split("/"):
            raise Refusal(404, "There is nothing here.")

    def _require_own_files(self, content: Any) -> None:
        """Raise Refusal if the content of a request names a file that was not uploaded.

        gradio makes a copy of whatever file or address a request names as an upload.
        """
        queue = [content]
        while queue:
            value = queue.pop()
            if isinstance(value, list):
                queue += value
            elif isinstance(value, dict):
                queue += value.values()
                if "path" in value and not self._was_uploaded(value["path"]):
                    raise Refusal(403, "The request names a file that was not uploaded.")

    def _was_uploaded(self, path: Any) -> bool:
        try:
            return (
                isinstance(path, str) and Path(path).is_absolute() and Path(path).resolve().is_relative_to(self.uploads)
            )
        except (OSError, ValueError):  # too long, or NUL
            return False

    async def _upload(self, scope: Scope, receive: Receive, send: "_Sending") -> None:
        """Pass an upload on, and refuse it as soon as it is too large; what is left of one that did not end goes."""
        left = _length(scope, self.largest)
        too_large = Refusal(413, _too_large(self.largest))

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                await send.refuse(too_large, receive)
                return {"type": "http.disconnect"}
            return message

        self._uploading += 1
        try:
            await self.app(scope, counted, send)
        except ClientDisconnect:  # also after a refusal
            pass
        finally:
            self._uploading -= 1
            if not self._uploading:  # gradio writes to a file `tmp…`, and moves it when it is whole
                for half in self.uploads.glob("tmp*"):
                    if half.is_file():
                        half.unlink(missing_ok=True)


class _Sending:
    """Sends answers with HEADERS, and nothing any more after a refusal."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = self.refused = False

    async def __call__(self, message: Message) -> None:
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            known = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *(
                (name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in known
            )]  # fmt: skip
        await self._send(message)

    async def refuse(self, refusal: Refusal, receive: Receive) -> None:
        """Send `refusal`, unless an answer has begun.

        What is too large is thrown away for a moment longer: if the connection closed at once, the sender would be told
        that it was reset, and never read why.
        """
        if self.begun or self.refused:
            return
        body = refusal.words.encode() + b"\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()),
                   (b"connection", b"close")]  # fmt: skip
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": body, "more_body": True})
        if refusal.status == 413:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGERING):
                    while (await receive()).get("more_body"):
                        pass
        await self({"type": "http.response.body", "body": b""})
        self.refused = True


def _too_large(most: int) -> str:
    return f"The request is larger than {most / 1e6:g} MB, which --largest MB of pipeline.app sets for uploads."


def _length(scope: Scope, most: int) -> int:
    """Return `most`; raises Refusal if the request says that it is longer."""
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and (not value.isdigit() or int(value[:20]) > most):
            raise Refusal(413, _too_large(most))
    return most


async def _whole(receive: Receive, most: int) -> bytes:
    """Receive the body of a request; raises Refusal as soon as it is longer than `most` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refusal(400, "The request did not end.")
        body += message.get("body", b"")
        if len(body) > most:
            raise Refusal(413, _too_large(most))
        if not message.get("more_body"):
            return bytes(body)


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "The request is no JSON.") from None


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives `body` first, and then what `receive` has: that the browser has gone."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
