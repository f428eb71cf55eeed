"""`flts up` and `flts down`: the whole stack on one machine, to try it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flts.cli.options import Home, LogFormat, Models, Sets, Source, Wide, loaded_spec, logged, settings, spec_file

if TYPE_CHECKING:
    from flts.settings import Settings
    from flts.spec.sources import LoadedSpec
    from flts.stack.up import Stack

NOT_FOR_PRODUCTION = "for trying, for tests and for docs; not for production: one machine, one copy of everything"
SETTLE = 90.0
"""Seconds in which every service joins its group, on any broker."""


def up(
    file: Annotated[Path | None, typer.Argument(help="Run this experiment. [flts.toml, if it is here]")] = None,
    sets: Sets = None,
    source: Source = None,
    models: Models = None,
    bus: Annotated[
        Literal["durable", "quick"] | None,
        typer.Option(help="Broker: durable loses nothing, quick reports correct lag. [durable]"),
    ] = None,
    log_format: LogFormat = None,
    home: Home = None,
    wide: Wide = False,
) -> None:
    """Start servers and services on this machine, and run an experiment through them. Not for production."""
    from flts.contracts.errors import Interrupted
    from flts.home import open_home
    from flts.models.registry import require
    from flts.stack.up import up as start

    chosen = settings(home=home)
    loaded = loaded_spec(file, sets, source, models) if spec_file(file) else None
    if loaded is not None:
        require(loaded.spec.trained)
    folder = open_home(chosen.home).resolve() / "stack"
    typer.echo(NOT_FOR_PRODUCTION)
    try:
        stack = start(folder, bus, typer.echo, chosen.start_timeout)
    except Interrupted:
        raise Interrupted("interrupted; what was started has been ended, `flts up` starts again") from None
    try:
        _use(stack)
        _wait_for_members(stack)
        if loaded is not None:
            _run_through(stack, loaded, logged(log_format=log_format), wide=wide)
    except Interrupted:
        raise Interrupted("interrupted; the stack keeps running, `flts down` ends it") from None
    _print_addresses(stack)


def down(
    delete: Annotated[bool, typer.Option("--delete", help="Also delete all data of the stack.")] = False,
    home: Home = None,
) -> None:
    """End the stack that `flts up` started; its data stays."""
    from flts.stack.shell import UNSET, pointed_at
    from flts.stack.up import down as end

    folder = settings(home=home).home.resolve() / "stack"
    end(folder, typer.echo, delete=delete)
    if pointed_at(os.environ) == folder:
        typer.echo(f"this shell still points at the stack; leave it with: {UNSET}")


def _use(stack: Stack) -> None:
    """Make this process a client of the stack, as sourcing its `env` does in a shell."""
    from flts.stack.shell import USER_VARIABLES

    for name in USER_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(stack.environment)


def _wait_for_members(stack: Stack) -> None:
    """Wait until every service has joined its group and takes messages."""
    from flts.contracts.errors import StageFailed
    from flts.runner.services.registry import groups
    from flts.wiring import open_bus

    names = [group.name for group in groups(stack.models)]
    bus, end = open_bus(settings()), time.monotonic() + SETTLE
    try:
        while absent := [group for group, members in bus.describe(names).members.items() if not members]:
            _all_alive(stack)
            if time.monotonic() > end:
                raise StageFailed(
                    f"no consumer has joined {', '.join(absent)} after {SETTLE:g} s; `flts doctor` says more",
                    code="no-members",
                    groups=absent,
                )
            time.sleep(0.2)
    finally:
        bus.close()


def _run_through(stack: Stack, loaded: LoadedSpec, chosen: Settings, *, wide: bool) -> None:
    """Start a run as `flts preprocess` does, and show the scoreboard when the services are done."""
    from flts.cli import board
    from flts.runner.claim import start
    from flts.runner.progress import reporter
    from flts.runner.services.trace import traced_context
    from flts.runner.services.watch import wait_for_judgement
    from flts.wiring import open_raw

    spec = loaded.spec
    with traced_context(chosen, "up") as context, reporter(sorted(spec.expected), quiet=False) as shown:
        started = start(context, spec, open_raw(spec.dataset, loaded.folder), shown)
        result = wait_for_judgement(context, started, shown, lambda: _all_alive(stack))
    board.print_result(result, wide=wide)


def _all_alive(stack: Stack) -> None:
    """Raise StageFailed when a process has ended; the message names it and its log."""
    from flts.contracts.errors import StageFailed

    dead = stack.dead()
    if dead is not None:
        raise StageFailed(
            f"{dead.name} has ended; {dead.log} says why, `flts up` starts it again",
            code="process-ended",
            process=dead.name,
            log=dead.log,
        )


def _print_addresses(stack: Stack) -> None:
    typer.echo("")
    for process in stack.state.processes:
        address = f"{process.url}/readyz" if process.name.startswith("worker-") else process.url
        typer.echo(f"  {process.name:<16} {address}")
    typer.echo(f"\n`. {stack.folder / 'env'}` lets `flts doctor`, `flts preprocess` and `flts dlq` use it;")
    typer.echo("`flts down` ends it")
