"""`flts init`: a first flts.toml from the rows themselves, each value with the figure that speaks for it."""

from __future__ import annotations

import os
import re
import textwrap
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flts.cli.data import TEST_FRACTION, DataFile, Target, TestFile, Time, Timezone, check_zone, raw_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tomlkit.items import Comment

    from flts.explore.findings import Finding
    from flts.explore.suggest import Section, SuggestedValue
    from flts.preprocess.source import RawInput

WIDTH = 118


def init(
    file: DataFile,
    test_file: TestFile = None,
    output: Annotated[Path, typer.Option(help="The experiment to write.")] = Path("flts.toml"),
    target: Target = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Rows ahead. [a natural unit of the step]")] = None,
    time: Time = None,
    timezone: Timezone = "UTC",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write an experiment that `flts run` takes as it is, and that says why each value is what it is."""
    from flts.contracts.errors import MissingExtra, UsageError
    from flts.explore.rehearse import verdict
    from flts.explore.report import inspect
    from flts.explore.suggest import suggest
    from flts.models.registry import require
    from flts.preprocess.source import RawInput, RawTable

    check_zone(timezone)
    if output.exists() and not force:
        raise _there_already(output)
    if not output.parent.is_dir():
        raise UsageError(
            f"{output}: there is no folder {output.parent} to write to",
            code="no-folder",
            file=str(output),
            folder=str(output.parent),
        )
    files = raw_files(file, test_file)
    later = files.test
    raw = RawInput(
        RawTable(files.train.name, files.train.frame()), RawTable(later.name, later.frame()) if later else None
    )
    seen = inspect(raw, target=target, time=time, timezone=timezone, test_fraction=TEST_FRACTION)
    where = _where(file, test_file, files, output)
    sections = suggest(seen, raw, where, TEST_FRACTION, horizon).sections
    warnings = [finding for finding in verdict(seen, TEST_FRACTION) if finding.severity == "warning"]
    _write(output, _toml(_title(file, test_file), warnings, sections), force=force)
    task = {entry.key: entry.value for section in sections if section.name == "task" for entry in section.entries}
    models = [section.name.removeprefix("models.") for section in sections if section.name.startswith("models.")]
    kept = [name for name in models if not _left_out(name, sections)]
    typer.echo(f"{output}: forecast '{seen.target}' ({seen.why_target})")
    typer.echo(f"  {task['input_length']} rows of history, {task['horizon']} ahead, by {', '.join(kept)}")
    for finding in warnings:
        typer.echo(f"  ! {finding.message}")
    try:
        require(models)
    except MissingExtra as missing:
        typer.echo(f"  ! not installed, so only a comment in {output}: {missing}")
    named = "" if output == Path("flts.toml") else f" {output}"
    typer.echo(f"  next: flts run{named}")


def _left_out(name: str, sections: Sequence[Section]) -> bool:
    return any(section.left_out for section in sections if section.name == f"models.{name}")


def _title(file: Path, test_file: Path | None) -> str:
    return f"flts init {file}{f' {test_file}' if test_file else ''}"


def _where(file: Path, test_file: Path | None, files: RawInput, output: Path) -> list[SuggestedValue]:
    """The entries that say where the rows lie, relative to the folder of the experiment."""
    from flts.explore.suggest import SuggestedValue
    from flts.preprocess.source import SUFFIXES

    folder = file.resolve().parent
    source = Path(os.path.relpath(folder, output.resolve().parent)).as_posix()
    by_name = file.suffix in SUFFIXES and test_file is None
    if by_name:
        beside = f", {files.test.name} is the test" if files.test else ""
        entries = [SuggestedValue("name", file.stem, f"{file.name} is read{beside}")]
    else:
        entries = [SuggestedValue("train_file", file.name, "")]
        if test_file is not None:
            later = Path(os.path.relpath(test_file.resolve(), folder)).as_posix()
            entries.append(SuggestedValue("test_file", later, "rows after all of train, for the judge alone"))
    entries.append(SuggestedValue("source", source, "folder of the files, as seen from this one"))
    scope = re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._")[:63]
    if scope:
        entries.append(SuggestedValue("identifier", scope, "the scope: one champion per scope"))
    return entries


def _toml(title: str, warnings: Sequence[Finding], sections: Sequence[Section]) -> str:
    import tomlkit

    head = tomlkit.document()
    said = [f"Written by `{title}` from what the rows say; change what you know better."]
    said += [f"Worth knowing: {f.message}.{f' → {f.action}' if f.action else ''}" for f in warnings]
    for line in chain.from_iterable(map(_comments, said)):
        head.add(line)
    head.add("v", 1)
    return "\n".join([tomlkit.dumps(head), *map(_section, sections)])


def _section(section: Section) -> str:
    """One table with the reasons above it and above its values."""
    import tomlkit

    table = tomlkit.table()
    for entry in section.entries:
        for line in _comments(entry.reason):
            table.add(line)
        table.add(entry.key, entry.value)
    nested: Mapping[str, Any] = table
    for part in reversed(section.name.split(".")):
        nested = {part: nested}
    text = tomlkit.dumps(nested)
    reason = "".join(line.as_string() for line in _comments(section.reason))
    return reason + (textwrap.indent(text, "# ") if section.left_out else text)


def _comments(text: str) -> Iterator[Comment]:
    import tomlkit

    # names of files and columns may hold anything; a comment holds neither line breaks nor control characters
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return (tomlkit.comment(line) for line in textwrap.wrap(printable, WIDTH - 2, break_long_words=False))


def _write(output: Path, text: str, *, force: bool) -> None:
    """Whole or not at all: a reader never meets half an experiment, and nothing is replaced unasked."""
    from flts.contracts.errors import UsageError
    from flts.spec.sources import load_spec

    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        part.write_text(text)
        load_spec(part)
        if force:
            part.replace(output)
        else:
            output.hardlink_to(part)
    except FileExistsError:
        raise _there_already(output) from None
    except OSError as error:
        raise UsageError(
            f"{output}: cannot be written: {error.strerror or error}", code="cannot-write", file=str(output)
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _there_already(output: Path) -> Exception:
    from flts.contracts.errors import UsageError

    return UsageError(
        f"{output}: is there already; --force replaces it, --output writes another",
        code="file-exists",
        file=str(output),
    )
