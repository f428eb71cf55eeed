"""Who promoted by hand, and why, stands in the log; a user without a name is a number."""

from __future__ import annotations

import getpass
import os

import pytest

from flts.runner.by_hand import acting
from flts.settings import load_settings


def test_the_actor_of_the_settings_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_ACTOR", "night shift")
    assert acting(load_settings()) == "night shift"
    assert acting(load_settings(actor="a person")) == "a person"


def test_without_one_the_user_of_the_process_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "someone")
    assert acting(load_settings()) == "someone"


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("no username set in the environment")])
def test_a_user_without_a_name_acts_as_a_number(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def unknown() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert acting(load_settings()) == f"uid {os.getuid()}"
