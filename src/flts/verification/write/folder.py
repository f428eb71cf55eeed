"""Writes a report: one file per format into one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flts.contracts.errors import UsageError
from flts.contracts.machine import machine_faults
from flts.verification.report import Report
from flts.verification.write.html import to_html
from flts.verification.write.json import to_json
from flts.verification.write.markdown import to_markdown
from flts.verification.write.statement import to_statement

FILES: Mapping[str, Callable[[Report], str]] = {
    "report.md": to_markdown,
    "report.html": to_html,
    "report.json": to_json,
    "statement.intoto.json": to_statement,
}
"""Every file of a report, and what writes it."""


@machine_faults()
def write_report(report: Report, folder: Path) -> list[Path]:
    """Write every file and return their paths. Raises UsageError for what can be no folder, and MachineFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"--output {folder} can be no folder: {error.strerror}", code="folder-invalid", folder=str(folder)
        ) from None
    for name, written in FILES.items():
        (folder / name).write_text(written(report), encoding="utf-8")
    return [folder / name for name in FILES]
