"""flts.toml on disk: written in one step, so that no reader sees half of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from flts.contracts.errors import UsageError


def write_text(file: Path, text: str, *, replace: bool) -> None:
    """Write a text as `write_bytes` does, in UTF-8."""
    write_bytes(file, text.encode(), replace=replace)


def refuse_no_folder(file: Path) -> None:
    """Raise UsageError for a file to write whose folder does not exist."""
    if not file.parent.is_dir():
        raise UsageError(
            f"{file}: there is no folder {file.parent} to write to",
            code="no-folder",
            file=str(file),
            folder=str(file.parent),
        )


def write_bytes(file: Path, data: bytes, *, replace: bool) -> None:
    """Write a file at once; an existing one keeps its rights, and a link stays a link.

    Raises UsageError where the file exists and may not be replaced, and where it cannot be written.
    """
    place = file.resolve() if replace else file
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        if not replace:
            place.hardlink_to(part)
            return
        if place.exists():
            shutil.copymode(place, part)
        part.replace(place)
    except FileExistsError:
        raise exists_already(file) from None
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be written: {error.strerror or error}", code="cannot-write", file=str(file)
        ) from None
    finally:
        part.unlink(missing_ok=True)


def exists_already(file: Path) -> UsageError:
    """The refusal to write over a file."""
    return UsageError(
        f"{file} already exists; --force replaces it, --output names another file",
        code="file-exists",
        file=str(file),
    )
