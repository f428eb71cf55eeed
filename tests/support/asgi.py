"""A request to an application in this process, byte for byte as from a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """The answer to a request. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    """Whether the body ended; otherwise a server closes the connection."""

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The detail of a problem document, after checking its form."""
        assert self.headers["content-type"] == "application/problem+json", self
        document = self.json()
        assert document.keys() == {"type", "title", "status", "code", "detail", "instance"}
        assert document["status"] == self.status
        assert document["instance"] == f"urn:uuid:{self.headers['x-request-id']}"
        return str(document["detail"])

    @property
    def code(self) -> str:
        """The code of a problem document, after checking its form."""
        assert self.problem
        return str(self.json()["code"])


def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
    *,
    leaves: bool = False,
    stalls: bool = False,
) -> Answer:
    """Send one request; nothing normalises the target.

    body: bytes are sent with their length, an iterable in chunks without one. leaves: the client closes the connection
    instead of ending the body. stalls: it sends no more, and stays connected.
    """
    return asyncio.run(_ask(app, method, target, dict(headers or {}), body, leaves, stalls))


async def _ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | Iterable[bytes] | None,
    leaves: bool,
    stalls: bool,
) -> Answer:
    if isinstance(body, bytes):
        headers.setdefault("Content-Length", str(len(body)))
    headers.setdefault("Host", "127.0.0.1:8080")
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
    chunks = iter([body] if isinstance(body, bytes) else body or [])
    ended = False
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal ended
        chunk = next(chunks, None)
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        if stalls or ended:
            await asyncio.Event().wait()
        ended = True
        return {"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return Answer(0, {}, b"", complete=False)
    start, *rest = sent
    return Answer(
        start["status"],
        {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in rest),
        complete=bool(rest) and not rest[-1].get("more_body", False),
    )
