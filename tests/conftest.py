"""What every test gets: no FLTS_* of who runs them, no listener of the test before, data outside only where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: two workers would fight for the cores
# hundreds of processes start here, and with it each would compile FLTS again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# what is made once for a machine is made once for the tests, and not in the home of who runs them
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parent.parent / ".pytest_cache" / "home")

import pytest
from hypothesis import settings

import flts
from flts.contracts import events
from flts.settings import load_settings
from flts.train import isolate
from tests.support import ROOT
from tests.support.experiments import write_experiment
from tests.support.servers import (  # noqa: F401 - fixtures: each starts when the first test asks for it
    database_server,
    durable_broker,
    mlflow_server,
    quick_broker,
    s3_server,
)
from tests.support.warm import Warm, subprocesses

settings.register_profile("flts", deadline=None)  # a loaded machine is no fault
settings.load_profile("flts")

LTE = ROOT.parent / "shared" / "data" / "lte"
SERVERS = {"database_server", "durable_broker", "mlflow_server", "quick_broker", "s3_server"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for a real server is slow."""
    for item in items:
        if isinstance(item, pytest.Function) and SERVERS & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FLTS_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_listener_is_left() -> Iterator[None]:
    """The command line sends events to the stderr of its test, which the next test does not have."""
    yield
    events.configure("off")


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """The process from which the children of all tests are forked."""
    process = Warm()
    yield process
    process.close()


@pytest.fixture(autouse=True)
def _children_start_quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in this process forks its children; see tests/support/warm.py."""
    if request.path.name != "test_isolate.py":  # it looks at the process itself
        monkeypatch.setattr(isolate, "subprocess", subprocesses(request.getfixturevalue("warm")))


@pytest.fixture(scope="session")
def promoted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `flts run` has promoted a ridge. A test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("promoted")
    flts.run(write_experiment(folder), settings=load_settings(home=folder / ".flts", tracking="off"))
    return folder


@pytest.fixture
def lte() -> Path:
    """Folder of the LTE measurements, which are not part of this repository."""
    if not LTE.is_dir():
        pytest.skip(f"the LTE measurements are not in {LTE}")
    return LTE
