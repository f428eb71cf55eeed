"""What the docs say is what the code says."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client import CollectorRegistry
from tests.support import ROOT
from tests.support.pages import PAGES
from tests.support.serving import application

from flts.backends.store import memory_store
from flts.server.prediction_log import PredictionLog
from flts.server.spool import Spool
from flts.settings import Settings
from flts.web.observed import HttpMetrics

ROOMS = ROOT / "src/flts"
NO_SETTING = {"FLTS_EXPERIMENT", "FLTS_SETTINGS_FILE"}
"""A variable of the compose file, and the one that names a file of settings."""


def generator() -> ModuleType:
    """docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["spec.md", "settings.md", "errors.md", "records.schema.json"])
def test_the_reference_pages_are_what_the_code_gives(name: str) -> None:
    assert (ROOT / "docs/reference" / name).read_text() == generator().pages()[name], "run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+?)\)", text):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target


def shown(text: str) -> list[list[str]]:
    """The words of every `flts …` in the code of a page, up to what ends a command."""
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
    lines = [line for part in code for line in part.replace("\\\n", " ").splitlines()]
    found = [call for line in lines for call in re.findall(r"(?:^|[;&(] ?|=\S+ )flts (.*)", line)]
    return [re.split(r"[|>#;&…\\]", call)[0].split() for call in found]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_every_command_and_option_that_a_page_shows_exists(page: str) -> None:
    from typer.main import get_command

    from flts.cli.main import app

    unknown = []
    for words in shown((ROOT / page).read_text()):
        command, rest = get_command(app), list(words)
        while rest and (deeper := getattr(command, "commands", {}).get(rest[0])):
            command = deeper
            rest.pop(0)
        options = {option for parameter in command.params for option in parameter.opts}
        named = [re.split("=", word)[0] for word in rest if re.match(r"--[a-z]", word)]
        if (hasattr(command, "commands") and rest and re.fullmatch(r"[a-z]+", rest[0])) or {*named} - options:
            unknown.append(" ".join(words))
    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_file_that_a_page_names_exists(page: str) -> None:
    for name in re.findall(r"[\w/]+/test_\w+\.py", (ROOT / page).read_text()):
        assert (ROOT / "tests" / name.removeprefix("tests/")).is_file(), name


def test_guarantees_name_a_test_for_every_promise() -> None:
    text = (ROOT / "docs/guarantees.md").read_text()
    promises = [line.split(" | ") for line in text.splitlines() if line.startswith("| **")]
    assert len(promises) > 10
    assert [promise for promise, _, tests in promises if not re.search(r"`[\w/]+/test_\w+\.py`", tests)] == []


def test_the_architecture_page_names_every_room_and_files_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `([\w/]+)/` \|.*\| (`.*`) \|$", text, re.MULTILINE)
    rooms = {room for room, _ in rows}
    assert {folder.parent.name for folder in ROOMS.glob("*/__init__.py")} <= rooms
    for room, files in rows:
        for name in re.findall(r"`(\w+\.py)`", files):
            assert (ROOMS / room / name).is_file(), f"{room}/{name}"


def test_the_architecture_page_shows_the_layers_that_are_enforced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    enforced = [layer.replace("flts.", "").replace(" | ", " · ") for layer in layers]
    text = (ROOT / "docs/architecture.md").read_text()
    shown = re.search(r"\*\*Layers\.\*\*(?:.*\n)+?\n((?: {4}.*\n)+)", text)
    assert shown is not None
    assert [line.strip() for line in shown[1].splitlines()] == [
        layer for layer in enforced if layer not in {"__main__", "version"}
    ]


def measured(registry: CollectorRegistry) -> set[str]:
    """The names of our metrics, as they are scraped."""
    families = [family for family in registry.collect() if family.name.startswith("flts_")]
    return {family.name + "_total" * (family.type == "counter") for family in families}


def named(page: str, service: str) -> set[str]:
    return set(re.findall(rf"`(flts_{service}_\w+)`", (ROOT / page).read_text()))


def test_the_pages_name_the_metrics_that_exist_and_no_others(tmp_path: Path) -> None:
    log = PredictionLog(memory_store(), Spool(tmp_path / "spool", 2**20))
    app = application(log=log)
    app.state.metrics.lag = lambda: 0.0
    assert named("docs/operations.md", "serve") == measured(app.state.metrics.registry)
    assert named("docs/serving.md", "serve") <= measured(app.state.metrics.registry)
    assert named("docs/http.md", "gateway") == measured(HttpMetrics("gateway").registry)


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/") or page == "README.md"])
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    names = set(re.findall(r"\bFLTS_[A-Z0-9]+(?:_[A-Z0-9]+)*\b", (ROOT / page).read_text()))
    assert {name for name in names if name.removeprefix("FLTS_").lower() not in Settings.model_fields} <= NO_SETTING
