"""The check of a release: a run, its pointer and an answer, through processes on a real store and a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.gateways import Running
from tests.support.gateways import running as serving
from tests.support.processes import Processes, processes
from tests.support.promotions import promote, two_bundles
from tests.support.servers import s3_prefix
from tests.support.services import LONG
from tests.support.stored import copy

from flts.contracts.ports import Store
from flts.deploy.smoke import SCOPE
from flts.promotion.log import read_log, scopes
from flts.stack.kafka import quick_kafka
from flts.stack.s3 import S3
from flts.wiring import open_store

FILE = ROOT / "examples/jfk-departures/flts.toml"


@dataclass(frozen=True)
class Release:
    """Services that have a champion of another scope."""

    running: Processes
    store: Store
    server: Running

    def smoke(self, *options: str, timeout: float = LONG) -> tuple[int, str]:
        """Exit code and what it printed."""
        command = ("deploy", "smoke", str(FILE), "--models", "ridge", "--timeout", str(timeout), *options)
        done = self.running.run(*command)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def release(tmp_path: Path, s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """A trainer of ridge, an evaluator and a forecast service that asks for a token."""
    url = s3_prefix(s3_server, monkeypatch)
    store, (memory, first, _) = open_store(url), two_bundles()
    copy(memory, store)
    promote(first, store=store)
    token = tmp_path / "token"
    token.write_text("secret")
    with quick_kafka(tmp_path / "kafka") as broker:
        variables = {"FLTS_STORE": url, "FLTS_BUS": broker.url, "FLTS_TOKEN_FILE": str(token)}
        with (
            processes(tmp_path / "logs", variables) as those,
            serving(tmp_path, "--probe-port", "0", command="serve", **variables) as server,
        ):
            those.worker("evaluate")
            those.worker("train")
            yield Release(those, store, server)


@pytest.mark.long
def test_a_release_that_works_passes_again_and_again_and_another_scope_is_left_alone(release: Release) -> None:
    store, url = release.store, release.server.address
    others = {key: store.get(key) for key in store.list("model-promotion/")}
    for run in (1, 2):
        code, said = release.smoke("--url", url)
        assert code == 0, said
        assert f"run {run} of " in said
        assert f"{url} answers with it: departures at " in said
    assert len(read_log(store, SCOPE)) == 1
    assert scopes(store) == ["global", SCOPE]
    assert {key: store.get(key) for key in others} == others
    # what fails is named
    code, said = release.smoke("--url", url, "--models", "ridge,gru", timeout=3)
    assert code == 1
    assert "gru" in said.rpartition("has after 3 s no result of ")[2], said
    Path(release.running.environment["FLTS_TOKEN_FILE"]).write_text("other")
    code, said = release.smoke("--url", url)
    assert code == 1
    assert "Traceback" not in said
