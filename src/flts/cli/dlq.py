"""`flts dlq`: list, show and replay messages that could not be handled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flts.cli.options import Json, next_page, settings
from flts.contracts.errors import visible

if TYPE_CHECKING:
    from flts.contracts.ports import Bus
    from flts.runner.services.letters import Letter

app = typer.Typer(help="List dead letters, show one, replay them.", no_args_is_help=True)

Topic = Annotated[str | None, typer.Option("--topic", help="Only those of this topic: training-data.")]
SHOWN = 50
"""Letters that `list` shows by default."""
REASON_SHOWN = 80
IDS_SHOWN = 20


@app.command("list")
def list_letters(
    topic: Topic = None,
    limit: Annotated[int, typer.Option(min=1, help="List so many letters at most.")] = SHOWN,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Only letters older than this one.")] = None,
    as_json: Json = False,
) -> None:
    """The newest dead letters, newest first, page by page."""
    from flts.cli import board
    from flts.runner.services.letters import newest_letters

    with _bus() as bus:
        found = newest_letters(bus, _topics(bus, topic), limit + 1, before)
        if found is None:
            raise _unknown(bus, before or "", topic)
    letters = found[:limit]
    if len(found) > limit:
        options = {"--topic": topic, "--limit": limit if limit != SHOWN else None}
        typer.echo(next_page("flts dlq list", options, letters[-1].id), err=True)
    if as_json:
        board.print_json([_summary(letter) for letter in letters])
        return
    if not letters:
        typer.echo("no dead letters" if before is None else "no older dead letters")
        return
    board.print_table(
        ["id", "group", "when (UTC)", "error", "reason", "attempts", "replayed"],
        [
            [
                letter.id,
                letter.group,
                f"{letter.when:%Y-%m-%d %H:%M:%S}",
                letter.error,
                _short(letter.reason),
                str(letter.attempts),
                "yes" if letter.replayed else "no",
            ]
            for letter in letters
        ],
    )


@app.command()
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """One dead letter: where it comes from, its headers, the whole reason, and the message as text."""
    from flts.cli import board
    from flts.runner.services.letters import letter_named

    with _bus() as bus:
        letter = letter_named(bus, letter_id)
        if letter is None:
            raise _unknown(bus, letter_id)
    value = letter.record.value.decode(errors="backslashreplace")
    if as_json:
        board.print_json(
            {
                **_summary(letter),
                "origin": letter.origin or None,
                "key": _as_text(letter.record.key),
                "headers": {_as_text(name): _as_text(value) for name, value in letter.headers.items()},
                "value": value,
            }
        )
        return
    typer.echo(f"letter    {letter.id}, {'replayed' if letter.replayed else 'not replayed'}")
    typer.echo(f"message   {letter.origin or 'the letter does not say which'}, key {visible(letter.record.key)}")
    who = f"by {visible(letter.group)}, " if letter.group else ""
    typer.echo(f"given up  {who}{letter.when:%Y-%m-%d %H:%M:%S} UTC after {letter.attempts} attempts")
    typer.echo(f"reason    {visible(letter.error)}: {visible(letter.reason)}")
    for name, header in sorted(letter.headers.items()):
        typer.echo(f"header    {visible(name)}: {visible(header)}")
    typer.echo(f"value     {len(letter.record.value):,} bytes")
    typer.echo(visible(value))


@app.command()
def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Letters to replay, by the ids of `flts dlq list`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all that were not replayed yet.")] = False,
    topic: Topic = None,
) -> None:
    """Send messages again as they were, to every group of their topic. The letters stay."""
    from flts.contracts.errors import BackendUnavailable, UsageError
    from flts.runner.services.letters import by_message
    from flts.runner.services.letters import replay as send

    if bool(ids) == everything:
        raise UsageError(
            "name the dead letters to replay, or give --all for those that were not replayed yet",
            code="no-letters-named",
        )
    with _bus() as bus:
        letters = _letters(bus, topic, ids or ())
        wanted = set(ids or ()) or {letter.id for letter in letters if not letter.replayed}
        messages = [same for same in by_message(letters) if any(letter.id in wanted for letter in same)]
        for done, same in enumerate(messages):
            try:
                send(bus, *same)
            except BackendUnavailable as error:
                raise BackendUnavailable(
                    f"{error}\n{done} of {len(messages)} messages were sent again; nothing is lost:"
                    " `flts dlq replay --all` sends the others",
                    code="replay-interrupted",
                    sent=done,
                    messages=len(messages),
                ) from None
            typer.echo(f"sent again to {same[0].topic}: {', '.join(letter.id for letter in same)}")
    if not messages:
        typer.echo("nothing to replay")


@contextmanager
def _bus() -> Iterator[Bus]:
    """The bus of the settings. Raises UsageError for one in memory, which other processes cannot see."""
    from flts.contracts.errors import UsageError
    from flts.runner.services.trace import TracedBus
    from flts.wiring import open_bus

    bus = TracedBus(open_bus(settings()))
    if bus.url.startswith("memory:"):
        raise UsageError(
            "dead letters lie on a bus that services share: set bus (FLTS_BUS) to kafka://host:port",
            code="bus-not-shared",
            bus=bus.url,
        )
    try:
        yield bus
    finally:
        bus.close()


def _letters(bus: Bus, topic: str | None, ids: Sequence[str]) -> list[Letter]:
    """Dead letters, oldest first: of one topic or of all, or of the topics of those that are named.

    All letters of a message are answered at once, and the first may be much older than the one that is named. Raises
    UsageError for a topic without a dead-letter topic, and for an id that none of them has.
    """
    from flts.runner.services.letters import letters

    topics = {name.rsplit("/", 2)[0] for name in ids} if ids else None
    merged = [
        letter for name in _topics(bus, topic) if topics is None or name in topics for letter in letters(bus, name)
    ]
    there = {letter.id for letter in merged}
    unknown = next((name for name in ids if name not in there), None)
    if unknown is not None:
        raise _unknown(bus, unknown, topic)
    # the sort is stable: letters of one topic and moment keep their order
    return sorted(merged, key=lambda letter: letter.when)


def _topics(bus: Bus, topic: str | None) -> Sequence[str]:
    """The topic that is named, or all that have letters. Raises UsageError for one without a dead-letter topic."""
    from flts.contracts.errors import UsageError, nearest
    from flts.runner.services.letters import topics_with_letters

    topics = topics_with_letters(bus)
    if topic is not None and topic not in topics:
        raise UsageError(
            f"no dead-letter topic for '{topic}'; {nearest(topic, topics)}", code="topic-unknown", topic=topic
        )
    return [name for name in topics if topic in {None, name}]


def _unknown(bus: Bus, letter_id: str, topic: str | None = None) -> Exception:
    """The error for an id that no letter has. It names the newest valid ones."""
    from flts.contracts.errors import UsageError
    from flts.runner.services.letters import newest_letters

    valid = [letter.id for letter in newest_letters(bus, _topics(bus, topic), IDS_SHOWN + 1) or ()]
    more = ", and older ones by `flts dlq list`" if len(valid) > IDS_SHOWN else ""
    return UsageError(
        f"there is no dead letter '{letter_id}'; valid: {', '.join(valid[:IDS_SHOWN]) or 'none'}{more}",
        code="letter-unknown",
        letter=letter_id,
    )


def _summary(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "group": _as_text(letter.group) or None,
        "when": letter.when.isoformat(),
        "error": _as_text(letter.error),
        "reason": _as_text(letter.reason),
        "attempts": letter.attempts,
        "replayed": letter.replayed,
    }


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= REASON_SHOWN else f"{line[: REASON_SHOWN - 1]}…"


def _as_text(text: str) -> str:
    """Text in which bytes that are not UTF-8 are escaped, as JSON needs it."""
    return text.encode(errors="backslashreplace").decode()
