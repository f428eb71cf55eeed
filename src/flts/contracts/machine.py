"""What a machine can lack: space, rights, descriptors, memory. A person has to act, so no model is to blame for it.

Python reports it as OSError, a library in Rust or C++ often as a text only. Both are read here, and nowhere else.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flts.contracts.errors import FltsError, MachineFailed, Plain

_SPACE = "free some space and run again; finished work is kept"
_LACKING: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("disk-full", f"no space left on the disk; {_SPACE}"),
    errno.EDQUOT: ("disk-full", f"no space left in the disk quota; {_SPACE}"),
    errno.EFBIG: ("disk-full", "the file would be larger than this process may write; raise `ulimit -f` and run again"),
    errno.EROFS: ("no-rights", "the disk can only be read; mount it for writing, or name another folder"),
    errno.EACCES: ("no-rights", "permission denied; give this user the right, or name another folder"),
    errno.EPERM: ("no-rights", "operation not permitted; give this user the right, or name another folder"),
    errno.EIO: ("disk-failed", "the disk failed to read or write; the log of the system says more"),
    errno.ESTALE: ("disk-failed", "the network disk has lost this folder; mount it again"),
    errno.EMFILE: ("no-descriptors", "this process may open no more files; raise `ulimit -n`"),
    errno.ENFILE: ("no-descriptors", "this machine can open no more files; end other programs, or raise fs.file-max"),
    errno.ENOMEM: ("no-memory", "this machine has no memory left; end other programs, or lower `jobs`"),
    errno.EAGAIN: (
        "no-processes",
        "this machine can start no more processes; end other programs, or raise `ulimit -u`",
    ),
}
"""By number of the system's error: the code of ours, what is missing and what a person can do."""
_NUMBER = re.compile(r"\((?:os )?error (\d+)\)|\[Errno (\d+)\]")
_WORDS = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)}
_WORDS |= {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
}
"""Words that mean nothing else, where a library passes on no number: those of the system and those of SQLite."""


@contextmanager
def machine_faults() -> Iterator[None]:
    """Raise MachineFailed in place of an error that is about this machine; leave any other as it is."""
    try:
        yield
    except Exception as error:  # any library may meet a full disk; another error is raised as it is
        fault = machine_fault(error)
        if fault is None or fault is error:
            raise
        raise fault from error


def machine_fault(error: BaseException) -> MachineFailed | None:
    """The error to raise in place of one that is about this machine; None for any other.

    An error of FLTS means what it says: its causes are not looked at.
    """
    for cause in _causes(error):
        if isinstance(cause, MachineFailed):
            return cause
        if isinstance(cause, FltsError):
            return None
        if isinstance(cause, MemoryError):
            return lacking(errno.ENOMEM, "cannot go on")
        number = cause.errno if isinstance(cause, OSError) else None
        fault = lacking(number or lacking_in(str(cause)), f"cannot go on: {cause}")
        if fault is not None:
            return fault
    return None


def lacking(number: int | None, what: str, **data: Plain) -> MachineFailed | None:
    """The error for this number of the system; None for one that says nothing about the machine. what: was tried."""
    if number is None or number not in _LACKING:
        return None
    code, mend = _LACKING[number]
    return MachineFailed(f"{what}: {mend}", code=code, **data)


def lacking_in(text: str) -> int | None:
    """The number of the system's error in the message of a library that passes on no OSError."""
    found = _NUMBER.search(text)
    if found:
        return int(found[1] or found[2])
    return next((number for words, number in _WORDS.items() if words in text), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised for, newest first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
