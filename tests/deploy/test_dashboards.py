"""The dashboards are those of their generator, and Grafana finds them where compose.yaml puts them."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import Any

import pytest
import yaml
from tests.deploy.test_compose import SERVICE
from tests.support import ROOT

FOLDER = ROOT / "deploy/monitoring"
NAMES = ("evaluation", "pipeline", "serving")


def generated() -> dict[str, str]:
    """The files of deploy/monitoring/dashboards.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate_dashboards", FOLDER / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files: dict[str, str] = module.files()
    return files


def panels(name: str) -> list[Any]:
    found: list[Any] = json.loads((FOLDER / f"dashboards/{name}.json").read_text())["panels"]
    return found


def test_the_files_are_those_of_the_generator() -> None:
    written = {file.name: file.read_text() for file in (FOLDER / "dashboards").iterdir()}
    assert written == generated(), "run `make chart`"


def test_grafana_finds_every_dashboard() -> None:
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana-dashboards.yml").read_text())["providers"]
    mounts = [mount.split(":")[:2] for mount in SERVICE["grafana"]["volumes"]]
    folder = provider["options"]["path"]
    assert {there for _, there in mounts if there.startswith(folder)} == {f"{folder}/{name}.json" for name in NAMES}
    assert ["./grafana-dashboards.yml", "/etc/grafana/provisioning/dashboards/flts.yml"] in mounts


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_room_titles_of_their_own_and_legends_of_labels_that_their_expression_keeps(name: str) -> None:
    found = panels(name)
    assert len({panel["title"] for panel in found}) == len({panel["id"] for panel in found}) == len(found)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in found}
    assert len(places) == len(found)
    for panel in found:
        for target in panel["targets"]:
            kept = re.findall(r"by \(([^)]*)\)", target["expr"])
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert label in {word.strip() for words in kept for word in words.split(",")}, target["expr"]
