"""The page of operations: its commands run, those that need a cluster carry their mark, and a backup is whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy
from tests.support import ROOT, experiments
from tests.support.experiments import write_experiment
from tests.support.newcomer import newcomer
from tests.support.pages import blocks
from tests.support.servers import kafka_bus
from tests.support.services import wait_until

import flts
from flts.contracts.errors import DataError, FltsError
from flts.contracts.messages import DEAD_LETTERS
from flts.promotion.log import read_log
from flts.runner.services.letters import send_to_dead_letters
from flts.serve.follow import champion_of
from flts.settings import load_settings
from flts.stack.mlflow import DATABASE
from flts.stack.postgres import USER, Postgres, postgres
from flts.stack.server import HOST, Server
from flts.wiring import open_store

NAME = "docs/operations.md"
PAGE = (ROOT / NAME).read_text()
SECTION = PAGE.partition("\n## Day by day\n")[2].partition("\n## ")[0]
CLUSTER = re.compile(r"\b(?:helm (?:install|upgrade|rollback|uninstall|test)|kubectl [a-z]+) ")
SERVERS = re.compile(r"`(?:docker|kafka-configs\.sh|mlflow gc|flts dlq|[A-Z_]+=\S+ docker) ?")
LOG = "model-promotion"
RIDGE = experiments.RIDGE + '[evaluate]\ngate = "always"\n'
ANOTHER = RIDGE.replace("input_length = 12", "input_length = 24")


def unmarked(text: str, command: re.Pattern[str], mark: str) -> list[str]:
    """Lines with more commands of a kind than marks."""
    return [line for line in text.splitlines() if len(command.findall(line)) > line.count(mark)]


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/kubernetes.md"])
def test_a_command_that_needs_a_cluster_carries_its_mark(page: str) -> None:
    text = re.sub(r"\n(?!\n|\||#|```|- )", " ", (ROOT / page).read_text())  # a command may go over two lines
    assert CLUSTER.search(text)
    assert unmarked(text, CLUSTER, "◆") == []


def test_they_are_counted_and_those_that_need_servers_are_marked() -> None:
    counted = re.search(r"(\d+) commands carry ◆", SECTION)
    assert counted is not None
    assert int(counted[1]) == len(re.findall("◆ `", SECTION))
    assert unmarked(SECTION, SERVERS, "◇") == []


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and two promotions."""
    folder = tmp_path_factory.mktemp("operated")
    settings = load_settings(home=folder / ".flts", tracking="off")
    for text in (ANOTHER, RIDGE):
        flts.run(write_experiment(folder, text), settings=settings)
    return folder


def restored(objects: Path, names: Sequence[Path], folder: Path) -> Path:
    """A store with these objects only."""
    for name in names:
        place = folder / name.relative_to(objects)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(name)
    return folder


def whole(folder: Path) -> int:
    """How many promotions a store has; the champion passes its self-test. Raises FltsError where it does not."""
    store = open_store(folder.as_uri())
    entries = len(read_log(store, "global")) if (folder / LOG).is_dir() else 0
    if entries:
        champion_of(store, "global")
    return entries


@pytest.mark.slow
def test_a_backup_is_whole_whenever_it_is_taken_and_only_in_this_order(used: Path, tmp_path: Path) -> None:
    """What a store held at each moment of two runs is what was written until then."""
    objects = used / ".flts/objects"
    written = sorted((path for path in objects.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    moments = sorted({path.stat().st_mtime_ns for path in written})
    assert len(moments) > 10
    found, torn = set(), 0
    for number, moment in enumerate(moments):
        until = [path for path in written if path.stat().st_mtime_ns <= moment]
        found.add(whole(restored(objects, until, tmp_path / f"{number}")))
        # the other order: the rest at this moment, and the log at the end
        later = [path for path in written if LOG in path.parts and path not in until]
        try:
            whole(restored(objects, [*until, *later], tmp_path / f"{number}-torn"))
        except FltsError:
            torn += 1
    assert found == {0, 1, 2}
    assert torn


@pytest.mark.long
def test_the_commands_of_the_page_run_and_a_run_that_goes_on_does_not_hurt_the_backup(
    used: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(used, folder)
    runs = len(list((folder / ".flts/objects/runs").glob("*/*")))
    page = blocks(NAME)
    backup, restore = (block for block in page if block.text.startswith(("mkdir -p backup", "mkdir restored")))
    with newcomer(folder) as reader:
        going_on = reader.enter("flts run --set task.input_length=36 >going-on 2>&1 & echo $!").strip()
        wait_until(lambda: len(list((folder / ".flts/objects/runs").glob("*/*"))) > runs, "the run to begin")
        reader.follow(page[: page.index(backup)])
        reader.follow([backup, restore])
        reader.enter(f"wait {going_on}")
        assert whole(folder / "restored") in {2, 3}, (folder / "going-on").read_text()
        reader.follow([block for block in page[page.index(backup) :] if block not in {backup, restore}])
        assert sorted(reader.followed) == page
    assert read_log(open_store((folder / ".flts/objects").as_uri()), "global")[-1].reason == "too low since Monday"
    assert 'name = "nightly"' in (folder / "tokens.toml").read_text()


def test_dead_letters_are_listed_shown_and_replayed_as_the_page_says(quick_broker: Server, tmp_path: Path) -> None:
    [dlq] = [block for block in blocks(NAME) if "flts dlq list" in block.text]
    bus, topic = kafka_bus(quick_broker), f"rows-{uuid.uuid4().hex[:8]}"
    bus.ensure([topic])
    bus.publish(topic, "key", b"value", {})
    [record] = bus.records(topic)
    send_to_dead_letters(bus, record, DataError("no such column"), 1, "train-gru")
    [letter] = bus.records(DEAD_LETTERS + topic)
    real = f"{topic}/{letter.partition}/{letter.offset}"
    with newcomer(tmp_path, instead={"training-data/0/12": real}) as reader:
        reader.enter(f"export FLTS_BUS={quick_broker.url}")
        reader.follow([dlq.given()])
    assert "no such column" in reader.said
    assert [again.value for again in bus.records(topic)] == [b"value", b"value"]
    bus.close()


def _run(commands: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


@pytest.mark.long
def test_the_database_of_mlflow_is_restored_into_an_empty_one(
    database_server: Postgres, mlflow_server: Server, tmp_path: Path
) -> None:
    import mlflow

    client = mlflow.MlflowClient(mlflow_server.url)
    run = client.create_run(client.create_experiment("kept")).info.run_id
    client.log_metric(run, "rmse", 0.5)
    dump, restore = (
        "\n".join(line for line in SECTION.splitlines() if line.startswith(names))
        for names in (("pg_dump",), ("createdb", "pg_restore"))
    )
    (tmp_path / "backup").mkdir()
    _run(dump, tmp_path, _client_of(database_server))
    (tmp_path / "empty").mkdir()
    with postgres(tmp_path / "empty", fsync=False) as other:
        _run(restore, tmp_path, _client_of(other))
        engine = sqlalchemy.create_engine(other.address(DATABASE), poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            query = sqlalchemy.text("select key, value from metrics where run_uuid = :run")
            values = connection.execute(query, {"run": run}).all()
    assert [tuple(row) for row in values] == [("rmse", 0.5)]


def _client_of(server: Postgres) -> dict[str, str]:
    """Variables of the clients of PostgreSQL."""
    where = {"PGHOST": HOST, "PGPORT": str(server.port), "PGUSER": USER, "PGPASSWORD": server.password}
    return os.environ | where | {"PATH": f"{server.programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
