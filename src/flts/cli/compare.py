"""`flts compare`: runs side by side, wherever they were run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import Home, Json, Wide, settings
from flts.contracts.errors import UsageError

if TYPE_CHECKING:
    from flts.comparison.result import Comparison


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Two or more of: CONFIG[:RUN] of this store, STORE#CONFIG[:RUN], a file of `flts runs show CONFIG"
            " --json`. CONFIG is the start of a config_hash; STORE is a folder or a URL, and alone means its newest"
            " run.",
        ),
    ],
    home: Home = None,
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the comparison as a Markdown page.")] = False,
    wide: Wide = False,
) -> None:
    """Compare runs: experiments, results, versions, machines, durations, scores. Exit code 0 only for the same result.

    Each run is compared with the first one. A result counts as the same only where both runs computed it.
    """
    from flts import api
    from flts.cli import board
    from flts.comparison import words

    if as_json and as_markdown:
        raise UsageError("--json and --markdown: choose one", code="format-twice")
    found = api.compare(*runs, settings=settings(home=home))
    if as_json:
        board.print_json(found)
    elif as_markdown:
        typer.echo(words.markdown(found))
    else:
        _print(found, wide=wide)
    if not found.same:
        raise typer.Exit(1)


def _print(found: Comparison, *, wide: bool) -> None:
    from flts.cli import board
    from flts.comparison import words

    console = board.open_console(wide=wide)
    for verdict in found.verdicts:
        board.say(console, f"{verdict.a} and {verdict.b}: {verdict.text}")
    for section in words.sections(found):
        typer.echo(f"\n{section.title}")
        if section.rows:
            # what is compared and the first run stay; of many runs, the last ones give way
            board.print_table(section.headings, section.rows, optional=section.headings[2:], wide=wide)
        for line in section.lines:
            board.say(console, f"  {line}")
