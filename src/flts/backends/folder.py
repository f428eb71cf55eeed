"""The folder behind a file:// URL, and which of its files are objects: regular ones, in folders of its own.

A link may lead out of the store or in a circle, and a pipe keeps its reader waiting for ever: neither is there.
Nor is an empty store where the folder itself has gone, as with a disk that is no longer mounted.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from urllib.parse import unquote, urlsplit

from flts.contracts.errors import MachineFailed, UsageError

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
UNFINISHED = "#"
"""Part of the names of files that are still being written; no key contains it."""
NO_KEY = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters and bytes that are no UTF-8: a disk takes them in a name, and no store takes them in a key."""


def named_by(url: str, key: str) -> Path:
    """The folder that a file:// URL names. key: what holds the URL, for messages. Raises UsageError for another host.

    What follows '?' or '#' would be cut off in silence, so it is refused too.
    """
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(
            f"{key} = {url} names the host '{parts.netloc}', and a folder is used on this machine only; write"
            f" file:///folder, with three slashes",
            code="host-in-file-url",
            key=key,
            found=parts.netloc,
        )
    if mark := next((mark for mark in "?#" if mark in url), None):
        raise UsageError(
            f"{key} = {url} names no folder: '{mark}' has a meaning of its own in a URL; write %{ord(mark):X} for it",
            code="mark-in-file-url",
            key=key,
            found=mark,
        )
    return Path(unquote(parts.path))


def require(folder: Path) -> None:
    """Raise MachineFailed where the folder of a store is gone, which was there when the store was opened."""
    if not folder.is_dir():
        raise MachineFailed(
            f"folder not found: {folder}, which holds the store; mount its disk again, or restore it from a backup",
            code="folder-gone",
            folder=str(folder),
        )


def holds(folder: Path, key: str) -> bool:
    """Whether there is an object of this key. Raises OSError."""
    return not _blocked_above(folder, key) and S_ISREG(_mode(folder / key))


def taken(folder: Path, key: str) -> bool:
    """Whether no object of this key can be written: it names a folder, or something above it is no folder."""
    return _blocked_above(folder, key) or S_ISDIR(_mode(folder / key))


def in_the_way(folder: Path, key: str) -> str:
    """The part of a key that is a link or a file where the store needs a folder of its own; empty where none is."""
    parents = [parent for parent in reversed(Path(key).parents) if parent.parts]
    return next((p.as_posix() for p in parents if (mode := _mode(folder / p)) and not S_ISDIR(mode)), "")


def keys(folder: Path, below: str) -> Iterator[str]:
    """The keys of all objects in a folder of the store, in any order. Raises OSError."""
    return (key for key, _ in _files(folder, below))


def dated(folder: Path, below: str, ending: str) -> Iterator[tuple[str, datetime]]:
    """The keys in a folder of the store that end so, and when each object was written. Raises OSError."""
    for key, file in _files(folder, below):
        if key.endswith(ending):
            with suppress(FileNotFoundError):  # removed meanwhile
                yield key, datetime.fromtimestamp(file.stat(follow_symlinks=False).st_mtime, UTC)


def ordered(folder: Path, below: str, after: str) -> Iterator[str]:
    """The keys in a folder of the store, sorted folder by folder, from the one after `after` on.

    A folder is read when its turn comes, so whoever takes the first few reads few. Raises OSError.
    """
    if _is_folder(folder, below):
        yield from _ordered(folder, below, after)


def _ordered(folder: Path, below: str, after: str) -> Iterator[str]:
    above = f"{below}/" if below else ""
    beyond = after.removeprefix(above) if after.startswith(above) else ""
    passed = beyond.partition("/")[0]
    for key, entry in sorted(_entries(folder, below), key=lambda found: found[1].name):
        if entry.is_dir(follow_symlinks=False) and entry.name >= passed:
            yield from _ordered(folder, key, after)
        elif entry.name > passed:
            yield key


def folders(folder: Path, below: str) -> list[str]:
    """The keys of the folders right below a folder of the store, sorted. Raises OSError."""
    if not _is_folder(folder, below):
        return []
    return sorted(key for key, entry in _entries(folder, below) if entry.is_dir(follow_symlinks=False))


def _files(folder: Path, below: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    waiting = [below] if _is_folder(folder, below) else []
    while waiting:
        for key, entry in _entries(folder, waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(key)
            else:
                yield key, entry


def _is_folder(folder: Path, below: str) -> bool:
    return not below or (not _blocked_above(folder, f"{below}/x") and S_ISDIR(_mode(folder / below)))


def _entries(folder: Path, parent: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The folders and objects right below a folder, in any order."""
    try:
        entries = os.scandir(folder / parent)
    except FileNotFoundError:  # removed meanwhile
        return
    with entries:
        for entry in entries:
            if NO_KEY.search(entry.name):
                continue
            whole = entry.is_file(follow_symlinks=False) and UNFINISHED not in entry.name
            if whole or entry.is_dir(follow_symlinks=False):
                yield (f"{parent}/{entry.name}" if parent else entry.name), entry


def _blocked_above(folder: Path, key: str) -> bool:
    return in_the_way(folder, key) != ""


def _mode(path: Path) -> int:
    """Type and rights of what has this name, not of what a link points to; 0 for nothing."""
    try:
        return path.lstat().st_mode
    except OSError as error:
        if error.errno in ABSENT:
            return 0
        raise
