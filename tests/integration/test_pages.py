"""Every page does what it says: its commands run in a fresh folder, in order, and say what the page shows.

A command that needs more than a folder, such as Docker or a cluster, says so in a comment, and these are counted. What
needs `flts up` is run where there is time.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import yaml
from tests.support import ROOT
from tests.support.experiments import RIDGE, write_experiment
from tests.support.newcomer import Newcomer, examples, newcomer
from tests.support.pages import PAGES, RUN, Block, blocks, shows
from tests.support.series import hourly, table

import flts
from flts.backends.store import memory_store
from flts.runner.claim import prepare
from flts.settings import load_settings
from flts.spec.sources import load_spec
from flts.wiring import open_raw

MARKED = {
    "CONTRIBUTING.md": 4,
    "README.md": 11,
    "docs/containers.md": 14,
    "docs/kubernetes.md": 12,
    "docs/mutation.md": 3,
    "docs/operations.md": 16,
    "docs/scaling.md": 3,
    "docs/serving.md": 3,
    "examples/drift-model/README.md": 3,
    "examples/jfk-departures/README.md": 2,
    "examples/seed-report/README.md": 1,
}
"""How many lines of commands are marked on each page. A further one needs a reason."""
SHOWN: dict[str, Callable[[str], Any]] = {
    "": str,
    "json": json.loads,
    "text": str,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
"""Languages of blocks that nobody types, and what reads them."""
ELSEWHERE = {"docs/operations.md": "deploy/test_operations.py"}
"""Pages that another test follows."""
JFK = "examples/jfk-departures/jfk-departures_test.csv"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A folder with a file of rows."""
    (tmp_path / "rows").mkdir()
    table(hourly(400)).write_csv(tmp_path / "rows/load.csv")
    return tmp_path / "rows"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What of a checkout the pages use."""
    return examples(tmp_path / "checkout")


@pytest.fixture(scope="session")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout after the first block of the README."""
    folder = examples(tmp_path_factory.mktemp("started"))
    with newcomer(folder) as reader:
        reader.follow(blocks("README.md")[:1])
        assert reader.said.count("-05:00  departures  ") == 24
        (folder / "said").write_text(reader.said)
    return folder


@pytest.fixture(scope="session")
def two_promotions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of two experiments, both promoted, of which the second was made again."""
    folder = tmp_path_factory.mktemp("promoted")
    settings = load_settings(home=folder / ".flts", tracking="off")
    for length, recompute in ((24, False), (12, False), (12, True)):
        text = RIDGE.replace("= 12", f"= {length}") + '[evaluate]\ngate = "always"\n'
        flts.run(write_experiment(folder, text), settings=settings, recompute=recompute)
    return folder


def readme(reader: Newcomer, page: list[Block]) -> None:
    """`Your own data` is about another folder, and the board of the demo has more models than that of the start.

    So ridge may have another rank there, but no other figure.
    """
    first, demo = page[0], next(block for block in page if not block.language)
    lines = [re.sub(r"^ +\d* *", "", line) for line in demo.text.splitlines()]
    same = [line for line in lines if re.match(r"(ridge|\w*naive) ", line)]
    said = (reader.folder / "said").read_text()
    assert len(same) == 3
    assert [line for line in same if not shows(line, said)] == []
    own, true = ([block for block in page if block.section == name] for name in ("Your own data", "Is it true?"))
    reader.follow([block for block in page if block not in {first, demo, *own, *true}])
    folder = reader.folder / "own"
    folder.mkdir()
    rows = table(hourly(400)).rename({"load": "megawatt"})
    rows[:320].write_csv(folder / "load.csv")
    rows[320:].write_csv(folder / "load_test.csv")
    # the fits of five models take minutes, and other tests make them
    with newcomer(folder, {"table": rows, "history": rows}, {"flts run  ": "flts run --models ridge  "}) as other:
        other.follow([block for block in own if block.language != "python"])
        other.enter("flts run --models ridge --home ../other/.flts")
        other.follow([*true, *(block for block in own if block.language == "python")])
    reader.followed += [first, demo, *own, *true]


def tutorial(reader: Newcomer, page: list[Block]) -> None:
    """The first run of the tutorial is the demo of the README."""
    reader.follow(page[:1])
    demo = next(block for block in blocks("README.md") if not block.language)
    assert shows(demo.text, reader.said), reader.said
    reader.follow(page[1:])


def serving(reader: Newcomer, page: list[Block]) -> None:
    """The prediction log is joined with the truth, and traced, once the service has stored it."""
    log = [block for block in page if block.section == "The prediction log"]
    rows = pl.read_csv(reader.folder / JFK)
    reader.names["history"] = rows[:-24]
    rows.write_csv(reader.folder / "departures.csv")
    reader.follow(page[: page.index(log[0])])
    reader.end_servers()
    reader.instead["20260102-jfk-019b7c1e-…"] = reader.names["forecast"].request_id
    reader.follow(log)
    assert reader.said.count("ok") > 5


def notebook(reader: Newcomer, page: list[Block]) -> None:
    """Cells leave the tables and pictures that the page names."""
    reader.follow(page)
    bounds = [f"{end}_{level}" for level in (50, 80, 95) for end in ("lower", "upper")]
    assert reader.names["forecasts"].columns == ["time", "target", "mean", *bounds, "q10", "q90"]
    assert (reader.folder / "next.png").stat().st_size > 1_000
    assert (reader.folder / "forecast.svg").stat().st_size > 1_000


def environments(reader: Newcomer, page: list[Block]) -> None:
    """Other environments ran the newer of the two experiments, too: one store of theirs is here, and manifests are."""
    settings = load_settings(home=reader.folder / ".flts")
    new, _, old = (run.config_hash for run in flts.runs(settings=settings))
    other = reader.folder.parent / "other/.flts"
    flts.run(reader.folder / "flts.toml", settings=load_settings(home=other, tracking="off", environment="other"))
    reader.enter(f"flts runs show {new} --home {other} --json | tee docker.json > cluster.json")
    reader.instead |= {"8528c49bd860": new[:12], "8528": new[:4], "6e59": new[:4], "8999": old[:4]}
    reader.instead |= {"staging": "other", "--scope jfk": "--scope global"}
    reader.follow(page)


def containers(reader: Newcomer, page: list[Block]) -> None:
    """A rollback, in another scope than that of the containers."""
    reader.instead["--scope jfk"] = "--scope global"
    reader.follow(page)


def kubernetes(reader: Newcomer, page: list[Block]) -> None:
    """A file of values that differs from flts.toml and from the run."""
    (reader.folder / "deploy").symlink_to(ROOT / "deploy")
    (reader.folder / "my-values.yaml").write_text("spec: {dataset: {targets: [load]}, task: {horizon: 5}}")
    reader.instead["CONFIG"] = flts.runs(settings=load_settings(home=reader.folder / ".flts"))[0].config_hash
    reader.follow(page)
    assert "task.horizon" in reader.said


class Page(NamedTuple):
    """How a page is followed. start: the fixture of the folder. follow: None follows it from top to bottom."""

    start: str
    follow: Callable[[Newcomer, list[Block]], None] | None = None
    names: Mapping[str, Any] | None = None
    instead: Mapping[str, str] | None = None
    marks: tuple[pytest.MarkDecorator, ...] = ()


FOLLOWED = {
    "README.md": Page("quick_start", readme),
    "docs/compare.md": Page("two_promotions", environments),
    "docs/containers.md": Page("two_promotions", containers),
    "docs/data.md": Page("rows"),
    "docs/http.md": Page("promoted_folder", instead={"//gateway:": "//127.0.0.1:"}),
    "docs/kubernetes.md": Page("promoted_folder", kubernetes),
    "docs/notebook.md": Page("rows", notebook),
    "docs/reference/errors.md": Page("promoted_folder", names={"flts": flts}),
    "docs/serving.md": Page("quick_start", serving),
    "docs/tutorial.md": Page("checkout", tutorial, marks=(pytest.mark.long,)),
    "docs/verify.md": Page("two_promotions", environments),
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(name, marks=how.marks) for name, how in FOLLOWED.items()])
def test_a_page_does_what_it_says(
    page: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLTS_TRACKING", "off")
    how = FOLLOWED[page]
    folder = tmp_path / "mine"
    shutil.copytree(request.getfixturevalue(how.start), folder)
    written = blocks(page)
    with newcomer(folder, how.names, how.instead) as reader:
        (how.follow or Newcomer.follow)(reader, written)
    assert sorted(reader.followed) == written


@pytest.mark.parametrize("page", PAGES)
def test_a_command_that_no_test_runs_is_marked_and_counted(page: str) -> None:
    written = [block for block in blocks(page) if block.language in RUN]
    for block in blocks(page):
        assert block.language in RUN or SHOWN[block.language](block.text), block.place
    assert sum(len(block.marked) for block in written) == MARKED.get(page, 0)
    assert page in {*FOLLOWED, *ELSEWHERE} or not any(block.unmarked for block in written)


@pytest.mark.long
@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_the_servers_of_one_machine_start_answer_and_end_as_a_page_says(page: str, tmp_path: Path) -> None:
    """With ridge on a small series alone: the other fits are the same, and take minutes."""
    [stack] = [block.given() for block in blocks(page) if block.text.startswith("# needs the extra stack\n")]
    write_experiment(tmp_path)
    instead = {"examples/jfk-departures/flts.toml": "flts.toml", "flts up ": "flts up --models ridge "}
    try:
        with newcomer(tmp_path, instead=instead) as reader:
            reader.enter("unset FLTS_TRACKING")
            reader.follow([stack])
    finally:
        with newcomer(tmp_path) as other:  # whatever failed, nothing stays
            ended = other.enter("flts down")
    assert "promoted  ridge is champion of 'global'" in reader.said
    assert "nothing runs" in ended


def test_the_tutorial_names_its_two_runs_by_their_hashes() -> None:
    """The tutorial itself is followed where there is time; its hashes move with every version of the code."""
    page = [command for block in blocks("docs/tutorial.md") for command in block.unmarked]
    typed = [shlex.split(command, comments=True) for command in page if command.startswith("flts ")]
    runs = [words[2:] for words in typed if words[1] == "run"]
    [diff] = [words[3:] for words in typed if words[1:3] == ["config", "diff"]]
    found = []
    for file, *options in runs:
        loaded = load_spec(ROOT / file, environ={}, overrides=options[1::2])
        raw = open_raw(loaded.spec.dataset, loaded.folder)
        found.append(prepare(memory_store(), loaded.spec, raw)[1].identity.config_hash)
    assert len(found) == 2
    assert diff == [config[:6] for config in found]
