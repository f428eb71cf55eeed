"""The public names of flts are few, documented, typed, and import nothing heavy before they are used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import ROOT

import flts
from flts.contracts import errors

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FltsError)]
HEAVY = {"httpx", "torch", "polars", "pydantic_settings", "structlog", "mlflow", "prophet", "statsforecast", "lightgbm"}

SHOW_HELP = """
import sys
from flts.cli.main import main
sys.argv = ["flts", "--help"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""


def imported_by(code: str) -> set[str]:
    """Top-level names of all modules that are imported after this code in a fresh interpreter."""
    show = "import json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    ended = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return set(modules)


def test_the_public_names_are_few_and_sorted() -> None:
    others = set(flts.__all__) - {error.__name__ for error in ERRORS}
    # ten functions, what they take (2), what they return (2); the clients of the service, of which a program that asks
    # one needs no other name: what they return and raise it gets from them
    assert len(others) <= 17
    assert flts.__all__ == sorted(flts.__all__)
    assert len(set(flts.__all__)) == len(flts.__all__)


def test_every_error_that_is_raised_on_purpose_is_public() -> None:
    assert len(ERRORS) > 10
    for error in ERRORS:
        assert getattr(flts, error.__name__) is error


@pytest.mark.parametrize("name", flts.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    assert (getattr(flts, name).__doc__ or "").strip()


def test_an_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'flts' has no attribute 'champions'"):
        flts.champions  # type: ignore[attr-defined]  # noqa: B018 - the look-up is what is tested


def test_completion_sees_the_public_names_and_nothing_else() -> None:
    assert dir(flts) == sorted([*flts.__all__, "__version__"])


GOOD = """
import flts
from flts import Settings
result = flts.run("flts.toml", settings=Settings())
name: str | None = result.winner
count: int = len(flts.runs())
columns: list[str] = flts.forecast("rows.csv").columns
usable: bool = flts.inspect("rows.csv").usable
with flts.Client() as client:
    mean: float = client.forecast({"time": ["2018-02-05"], "load": [1.0]}, horizon=1).rows[0].mean
"""


WRONG = """
import flts
flts.nothing
flts.run("flts.toml").nothing
flts.runs(setings=None)
"""


@pytest.mark.long
def test_a_type_checker_knows_every_public_name_and_reports_any_other(tmp_path: Path) -> None:
    programs = []
    for name, code in (("good", GOOD), ("wrong", WRONG)):
        programs.append(tmp_path / f"{name}.py")
        programs[-1].write_text(code)
    # with the options and the cache of `make type`, so that it is quick once that has run
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, programs)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    errors = [line.partition("wrong.py:")[2] for line in ended.stdout.splitlines() if ": error:" in line]
    assert errors == [
        '3: error: Module has no attribute "nothing"  [attr-defined]',
        '4: error: "RunResult" has no attribute "nothing"  [attr-defined]',
        '5: error: Unexpected keyword argument "setings" for "runs"; did you mean "settings"?  [call-arg]',
    ], ended.stdout + ended.stderr


@pytest.mark.parametrize("code", ["import flts; assert flts.__version__", SHOW_HELP], ids=["import", "help"])
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    modules = imported_by(code)
    assert "flts" in modules
    assert not modules & HEAVY


def test_imported_by_finds_a_heavy_module() -> None:
    assert "polars" in imported_by("import flts, polars")
