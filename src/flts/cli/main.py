"""`flts`: the entry point. An error raised on purpose prints one message and sets the exit code, never a traceback."""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from types import TracebackType
from typing import Any

import typer

from flts.cli import (
    compare,
    config,
    data,
    deploy,
    dlq,
    doctor,
    forecast,
    gateway,
    health,
    init,
    predictions,
    preprocess,
    promotions,
    run,
    runs,
    serve,
    stack,
    token,
    trace,
    verify,
    worker,
)
from flts.contracts.errors import FltsError, Interrupted, UsageError, shortened, without_credentials
from flts.contracts.machine import machine_fault
from flts.version import __version__

app = typer.Typer(
    name="flts",
    help="From rows of a time series to a judged, promoted and served forecast.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("preprocess")(preprocess.preprocess)
app.command("forecast")(forecast.forecast)
app.command("serve")(serve.serve)
app.command("compare")(compare.compare)
app.command("trace")(trace.trace)
app.command("verify")(verify.verify)
app.command("gateway")(gateway.gateway)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("doctor")(doctor.doctor)
app.command("health")(health.health)
app.add_typer(worker.app, name="worker")
app.add_typer(deploy.app, name="deploy")
app.add_typer(dlq.app, name="dlq")
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.add_typer(runs.app, name="runs")
app.add_typer(promotions.app, name="promotions")
app.add_typer(predictions.app, name="predictions")
app.add_typer(token.app, name="token")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flts {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """Options of `flts` itself."""


def main() -> None:
    """Run the command line and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    sys.excepthook = _say_unexpected
    try:
        sys.exit(_call())
    except FltsError as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output has gone
    except Exception as error:  # what is not about the machine is a defect, and is raised again
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            typer.echo(shortened(f"error: a name is too long for a file of this system: {error.filename}"), err=True)
            sys.exit(2)
        if isinstance(error, FileNotFoundError) and error.filename is None:  # only os.getcwd() names no file
            typer.echo("error: the current folder no longer exists; change to one that does", err=True)
            sys.exit(2)
        fault = machine_fault(error)
        if fault is None:
            raise
        typer.echo(f"error: {fault}", err=True)
        sys.exit(fault.exit_code)


def _call() -> int:
    """Run the command and return its exit code. A mistake that typer finds is raised as an error of our own."""
    try:
        return int(app(standalone_mode=False, prog_name="flts") or 0)  # None of a command that ran to its end
    except typer.TyperException as mistake:
        text = mistake.format_message()
        if text.startswith("Usage:"):  # a group without a command: the text is its help
            typer.echo(text, err=True)
            return mistake.exit_code
        context = getattr(mistake, "ctx", None)
        command = context.command_path if context else "flts"
        raise UsageError(
            f"{text[:1].lower()}{text[1:].rstrip('.')}; `{command} --help` shows what is valid",
            code="command-invalid",
            command=command,
        ) from None


def _say_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a defect, which may quote a URL, as everything else is shown."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(without_credentials(text))


def _stop(_number: int, _frame: Any) -> None:
    # an error of our own: the library would turn KeyboardInterrupt into a bare "Aborted!"
    raise Interrupted("interrupted; what is finished is kept, `flts run` continues from there")
