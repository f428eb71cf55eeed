"""The verifier notices every change of a store: the first claim that does not hold names what was changed."""

from __future__ import annotations

import pytest
from tests.support.experiments import small_spec
from tests.support.series import hourly, split
from tests.support.stored import contents, copy

import flts
from flts.backends.store import memory_store
from flts.contracts.ports import Store
from flts.settings import load_settings
from flts.verification.claims import BAD, FALSE
from flts.verification.report import Report, examine
from flts.wiring import open_store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """What a healthy local run leaves, and its config_hash."""
    home = tmp_path_factory.mktemp("home")
    train, test = split(hourly(300), 60)
    result = flts.run(small_spec(), train=train, test=test, settings=load_settings(home=home, tracking="off"))
    store = memory_store()
    copy(open_store((home / "objects").as_uri()), store)
    return store, result.config_hash


@pytest.fixture
def changed(run: tuple[Store, str]) -> Store:
    """A copy of that store, to be changed."""
    store = memory_store()
    copy(run[0], store)
    return store


def states(report: Report) -> dict[str, str]:
    return {claim.id: claim.state for claim in report.claims}


def test_a_healthy_local_run_is_a_success(run: tuple[Store, str]) -> None:
    report = examine(*run, 1)
    assert report.exit_code == 0
    assert set(states(report).values()) == {"true", "not recorded"}


# no record names the digest of these, and none of their claims can be counted again: when something happened, and
# whether it was done for the first time
UNSEALED = ("runs/", "processed-data/by-input/")


def test_a_changed_byte_of_any_object_is_found_and_named(run: tuple[Store, str]) -> None:
    store, config_hash = run
    for key, data in contents(store).items():
        if key.startswith(UNSEALED):
            continue
        other = memory_store()
        copy(store, other)
        middle = len(data) // 2
        other.replace(key, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        report = examine(other, config_hash, 1)
        first = report.first_false
        assert report.exit_code == 1, key
        assert first is not None
        assert first.state == FALSE
        assert key in (first.reason or ""), f"{key}: {first.id}: {first.reason}"
        bad = {claim.id for claim in report.claims if claim.state in BAD}
        assert not [c.id for c in report.claims if c.state == "true" and bad & set(c.rests_on)]
