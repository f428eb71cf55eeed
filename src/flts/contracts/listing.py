"""What a Store answers about a folder, made of a list of all keys in it: for what is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


def in_order(key: str) -> tuple[str, ...]:
    """Sorts keys folder by folder."""
    return tuple(key.split("/"))


def start_of(prefix: str) -> str:
    """A key before all that start so and after all others before them; empty where that is the start of a folder."""
    if not prefix or prefix.endswith("/"):
        return ""
    last = "." if prefix[-1] == "0" else chr(ord(prefix[-1]) - 1)  # '/' comes before '0', and would end a folder
    return f"{prefix[:-1]}{last}{chr(0x10FFFD)}"


class Listed(Protocol):
    """`first` and `folders` of a Store whose `list` costs nothing."""

    def list(self, prefix: str) -> Sequence[str]:
        """As of a Store."""

    def first(self, folder: str, most: int, after: str = "") -> Sequence[str]:
        """As of a Store."""
        keys = sorted(self.list(folder), key=in_order)
        return [key for key in keys if not after or in_order(key) > in_order(after)][:most]

    def folders(self, folder: str) -> Sequence[str]:
        """As of a Store."""
        parts = (key.removeprefix(folder).partition("/") for key in self.list(folder))
        return sorted({f"{folder}{name}/" for name, slash, _ in parts if slash})
