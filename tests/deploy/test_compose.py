"""compose.yaml is valid, starts what the experiment needs, and sets only settings that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.support import ROOT

from flts.runner.services.registry import SERVICES
from flts.settings import Settings
from flts.spec.sources import load_spec

FOLDER = ROOT / "deploy"
FILE = FOLDER / "compose.yaml"
ONE_SHOT = {"secrets", "prepare", "preprocess"}
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(FILE.read_text())
    return loaded


SERVICE: dict[str, dict[str, Any]] = compose()["services"]
OF_FLTS = {name: service for name, service in SERVICE.items() if service["image"].startswith("${FLTS_IMAGE")}
COMMANDS = {name: service["command"] for name, service in OF_FLTS.items() if "command" in service}


def test_it_fits_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_there_is_one_trainer_for_each_model_of_the_experiment() -> None:
    spec = load_spec(ROOT / "examples/jfk-departures/flts.toml", environ={}).spec
    trained = [
        command[command.index("--model") + 1] for command in COMMANDS.values() if command[:2] == ["worker", "train"]
    ]
    assert sorted(trained) == spec.trained


def test_every_service_of_the_program_runs() -> None:
    assert {command[1] for command in COMMANDS.values() if command[0] == "worker"} == {s.name for s in SERVICES}
    assert {command[0] for command in COMMANDS.values()} == {"worker", "deploy", "preprocess", "gateway", "serve"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_its_commands_exist_with_their_options(name: str) -> None:
    from typer.main import get_command

    from flts.cli.main import app

    found: Any = get_command(app)
    command, words = COMMANDS[name], list[str]()
    while hasattr(found, "commands"):
        words.append(command[len(words)])
        found = found.commands[words[-1]]
    found.make_context("flts", command[len(words) :])  # raises for an option that is unknown


@pytest.mark.parametrize("name", sorted(OF_FLTS))
def test_a_variable_of_flts_is_a_setting_and_its_value_fits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {key: value for key, value in OF_FLTS[name].get("environment", {}).items() if key.startswith("FLTS_")}
    assert {key.removeprefix("FLTS_").lower() for key in variables} <= set(Settings.model_fields)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    Settings()


@pytest.mark.parametrize("name", sorted(OF_FLTS))
def test_a_container_of_flts_needs_no_right(name: str) -> None:
    service = OF_FLTS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user", "") in ({"0:0"} if name == "secrets" else {""})
    assert name == "secrets" or "/tmp:mode=1777" in service["tmpfs"]  # noqa: S108 - of the container


def test_no_log_grows_without_an_end() -> None:
    assert {name for name, service in SERVICE.items() if "max-size" not in service["logging"]["options"]} == set()


def test_secrets_are_files_that_one_service_writes_and_the_others_read() -> None:
    mounts = {
        name: [v for v in service.get("volumes", []) if v.startswith("secrets:")] for name, service in SERVICE.items()
    }
    assert mounts.pop("secrets") == ["secrets:/run/flts"]
    assert {mount for found in mounts.values() for mount in found} == {"secrets:/run/flts:ro"}
    variables = [f"{k}={v}" for service in SERVICE.values() for k, v in service.get("environment", {}).items()]
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY)[A-Z_]*=(?!/run/flts/)")
    assert [text for text in variables if secret.search(text)] == []


def test_whoever_reads_a_secret_waits_for_it() -> None:
    """Directly, or through what it waits for."""

    def waits(name: str) -> bool:
        needed = SERVICE[name].get("depends_on", {})
        return needed.get("secrets", {}).get("condition") == "service_completed_successfully" or any(map(waits, needed))

    readers = [name for name, service in SERVICE.items() if "secrets:/run/flts:ro" in service.get("volumes", [])]
    assert len(readers) > 8
    assert [name for name in readers if not waits(name)] == []


def test_one_waits_for_what_is_healthy_or_done() -> None:
    for name, service in SERVICE.items():
        for needed, how in service.get("depends_on", {}).items():
            done = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == done, f"{name} waits for {needed}"
            assert needed in ONE_SHOT or "test" in SERVICE[needed]["healthcheck"], needed


def test_nothing_is_named_or_reached_from_outside_this_machine() -> None:
    assert "networks" not in compose()
    for name, service in SERVICE.items():
        assert "container_name" not in service
        assert all(port.startswith("127.0.0.1:${") for port in service.get("ports", [])), name


def test_every_variable_has_its_default_in_the_example_and_no_other_is_there() -> None:
    used = dict(VARIABLE.findall(FILE.read_text()))
    example = re.findall(r"^(\w+)=(.*)$", (FOLDER / ".env.example").read_text(), re.MULTILINE)
    assert dict(example) == used
    assert "${" not in VARIABLE.sub("", FILE.read_text())


def test_every_file_that_it_mounts_exists() -> None:
    mounted = re.findall(r"^      - (\./[^:]+):", FILE.read_text(), re.MULTILINE)
    assert len(mounted) > 3
    assert [file for file in mounted if not (FOLDER / file).is_file()] == []
    assert (FOLDER / VARIABLE.sub(r"\2", "${FLTS_EXPERIMENT:-../examples/jfk-departures}") / "flts.toml").is_file()


def test_prometheus_scrapes_every_service_with_a_probe_port() -> None:
    config = YAML(typ="safe").load((FOLDER / "prometheus.yml").read_text())
    probed = {name for name, command in COMMANDS.items() if command[0] in {"worker", "serve"}}
    assert set(config["scrape_configs"][0]["dns_sd_configs"][0]["names"]) == probed
    assert Settings.model_fields["probe_port"].default == config["scrape_configs"][0]["dns_sd_configs"][0]["port"]


def test_the_store_starts_as_in_the_chart() -> None:
    template = (FOLDER / "helm/flts/templates/s3.yaml").read_text()
    in_chart = {flag for flag in re.findall(r"^ +- (-[\w.]+(?:=\S+)?)$", template, re.MULTILINE) if "{{" not in flag}
    own = ("-s3.config=", "-s3.ip.bind=")
    differing = {flag for flag in in_chart ^ set(SERVICE["s3"]["command"][1:]) if not flag.startswith(own)}
    assert differing == set()


CHECKERS = {"promtool": ("check", "config", "prometheus.yml"), "haproxy": ("-c", "-f", "haproxy.cfg")}


@pytest.mark.parametrize("program", CHECKERS)
def test_a_server_accepts_its_configuration(program: str) -> None:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install prometheus haproxy")
    *options, file = CHECKERS[program]
    checked = subprocess.run([found, *options, str(FOLDER / file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_grafana_finds_prometheus() -> None:
    [source] = YAML(typ="safe").load((FOLDER / "grafana-datasource.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["url"] == "http://prometheus:9090"
    assert any(mount.endswith("9090") for mount in SERVICE["prometheus"]["ports"])
    assert any("/etc/grafana/provisioning/datasources/" in mount for mount in SERVICE["grafana"]["volumes"])


def test_volumes_that_are_used_are_declared() -> None:
    used = {
        volume.partition(":")[0]
        for service in SERVICE.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "$"))
    }
    assert used == set(compose()["volumes"])
