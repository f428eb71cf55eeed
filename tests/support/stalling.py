"""A proxy before any server that can stop answering: connections are accepted, bytes are taken, and nothing comes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PIECE = 2**16


@dataclass
class Stalling:
    """A proxy at `address`, host:port. It passes bytes on as long as `flowing` is set."""

    address: str
    flowing: threading.Event = field(default_factory=threading.Event)
    accepted: int = 0
    """Connections so far."""


@contextmanager
def stalling(behind: str = "") -> Iterator[Stalling]:
    """A proxy before the server at `behind`, host:port, that stalls until `flowing` is set; empty: for ever."""
    ended = threading.Event()
    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Stalling(f"127.0.0.1:{listening.getsockname()[1]}")

        def pump(source: socket.socket, sink: socket.socket | None) -> None:
            with contextlib.suppress(OSError):  # either side has gone
                while piece := source.recv(PIECE):
                    while sink is not None and not proxy.flowing.wait(0.05):
                        if ended.is_set():
                            return
                    if sink is not None:
                        sink.sendall(piece)
                if sink is not None:
                    sink.shutdown(socket.SHUT_WR)

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed at the end
                while not ended.is_set():
                    client, _ = listening.accept()
                    proxy.accepted += 1
                    opened.append(client)
                    server = None
                    if behind:
                        host, _, port = behind.rpartition(":")
                        server = socket.create_connection((host, int(port)))
                        opened.append(server)
                        threading.Thread(target=pump, args=(server, client), daemon=True).start()
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

        thread = threading.Thread(target=accept, name="stalling", daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in opened:
                one.close()
