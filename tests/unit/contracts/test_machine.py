"""Which errors are about the machine: by number, by the words of a library, and by what they were raised for."""

from __future__ import annotations

import errno

import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError, MachineFailed
from flts.contracts.machine import lacking, lacking_in, machine_fault, machine_faults


def caused_by(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("could not save the network") from error
    except RuntimeError as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk-full"),
        (OSError(errno.EFBIG, "File too large"), "disk-full"),
        (OSError(errno.EROFS, "Read-only file system"), "no-rights"),
        (PermissionError(errno.EACCES, "Permission denied"), "no-rights"),
        (OSError(errno.EMFILE, "Too many open files"), "no-descriptors"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no-memory"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no-processes"),
        (OSError(errno.EIO, "Input/output error"), "disk-failed"),
        (OSError(errno.ESTALE, "Stale file handle"), "disk-failed"),
        (MemoryError(), "no-memory"),
        (RuntimeError("Generic LocalFileSystem error: a: Permission denied (os error 13)"), "no-rights"),
        (RuntimeError("[enforce fail at inline_container.cc:603] . : No space left on device"), "disk-full"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "disk-full"),
        (caused_by(OSError(errno.ENOSPC, "No space left on device")), "disk-full"),
    ],
)
def test_what_the_machine_lacks_is_its_own_error(error: Exception, code: str) -> None:
    fault = machine_fault(error)
    assert fault is not None
    assert fault.code == code
    with raises(MachineFailed, code=code), machine_faults():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        OSError("no number"),
        ValueError("the loss is not finite"),
        DataError("load.csv: cannot be read: Permission denied (os error 13)"),
        caused_by(DataError("[Errno 28]")),
    ],
)
def test_any_other_error_stays_what_it_is(error: Exception) -> None:
    assert machine_fault(error) is None
    with pytest.raises(type(error)) as caught, machine_faults():
        raise error
    assert caught.value is error


def test_the_message_says_what_was_tried_and_what_to_do() -> None:
    fault = lacking(lacking_in("a: No space left on device (os error 28)"), "cannot write a", key="a")
    assert fault is not None
    assert str(fault).startswith("cannot write a: no space left on the disk; free some space")
    assert fault.data == {"key": "a"}
    assert lacking(lacking_in("a: Connection refused (os error 111)"), "cannot write a") is None
