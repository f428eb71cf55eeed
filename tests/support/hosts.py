"""Hosts of a test's own: network namespaces on one bridge, whose links can be cut. Only root makes them."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

PROGRAMS = ("ip", "unshare", "nsenter")
_MADE = itertools.count(100 * os.getpid())
"""Numbers of networks: the links of the last one may still be there, as they go with its hosts."""


@dataclass(frozen=True)
class Host:
    """A host; `within` goes before a command that is to run on it. pid: of the process that holds its namespace."""

    pid: int
    link: str

    @property
    def within(self) -> Sequence[str]:
        return ("nsenter", f"--target={self.pid}", "--net", "--")

    def cut(self) -> None:
        """Pull its cable: nothing is refused, and nothing arrives."""
        _ip("link", "set", self.link, "down")

    def join(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self.link, "up")


@dataclass
class Network:
    """A bridge, with this machine at `address`."""

    number: int
    address: str = field(init=False)

    def __post_init__(self) -> None:
        # numbers are a hundred apart for each process, so one byte would give one of five addresses only
        high, low = divmod(self.number % 12500, 250)
        self.address = f"10.{200 + high}.{low}.1"

    @property
    def bridge(self) -> str:
        return f"flts{self.number}"

    @contextmanager
    def host(self, number: int) -> Iterator[Host]:
        """One more host, from 2 on."""
        holder = subprocess.Popen(
            ["/usr/bin/unshare", "--net", "/bin/sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            holder.stdout.readline()
            made = Host(holder.pid, f"{self.bridge}h{number}")
            _ip("link", "add", made.link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            _ip("link", "set", made.link, "master", self.bridge, "up")
            for command in (
                ("link", "set", "lo", "up"),
                ("link", "set", "eth0", "up"),
                ("address", "add", f"{self.address.rpartition('.')[0]}.{number}/24", "dev", "eth0"),
            ):
                subprocess.run([*made.within, "ip", *command], check=True, capture_output=True)
            yield made
        finally:  # its links go with it
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()


@contextmanager
def network() -> Iterator[Network]:
    """A network without hosts. Skips the test where this user or system makes none."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"only root makes hosts, with {', '.join(PROGRAMS)}; missing: {', '.join(missing) or 'root'}")
    made = Network(next(_MADE))
    try:
        _ip("link", "add", made.bridge, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this system makes no bridge: {error.stderr.decode().strip()}")
    try:
        _ip("address", "add", f"{made.address}/24", "dev", made.bridge)
        _ip("link", "set", made.bridge, "up")
        yield made
    finally:
        _ip("link", "delete", made.bridge)


def _ip(*arguments: str) -> None:
    subprocess.run(["/bin/ip", *arguments], check=True, capture_output=True)
