"""The bundled servers that exist as programs here are started as the chart would start them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.charts import Helm, Manifest, named

from flts.contracts.errors import UsageError
from flts.settings import Settings
from flts.stack.server import Server, answers, ports, script
from flts.wiring import make_buckets, open_store

KEYS = {"AWS_ACCESS_KEY_ID": "flts", "AWS_SECRET_ACCESS_KEY": "secret"}


def container(helm: Helm, kind: str, name: str) -> Manifest:
    [found] = named(helm.render(), kind, name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_store_starts_and_asks_for_its_keys(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = container(helm, "StatefulSet", "flts-s3")
    assert {one["name"] for one in rendered["env"]} >= set(KEYS)
    port = ports(tmp_path, "master", "volume", "filer", "s3")
    (tmp_path / "data").mkdir()
    # a flag that comes again wins
    own = [f"-{name}.port={number}" for name, number in port.items()] + [f"-dir={tmp_path / 'data'}"]
    command = [str(script("an S3 server", "weed")), *rendered["args"], *own]
    url = f"http://127.0.0.1:{port['s3']}"
    path = rendered["readinessProbe"]["httpGet"]["path"]
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with Server("s3", tmp_path, command, url, lambda: answers(f"{url}{path}"), KEYS):
        settings = Settings(store="s3:///", s3_endpoint=url)
        made = make_buckets(settings)
        assert made
        store = open_store(settings.store_url)
        assert store.create(f"{made[0]}/one", b"1")
        assert not store.create(f"{made[0]}/one", b"2")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(UsageError):
            open_store(settings.store_url).get(f"{made[0]}/one")


def test_the_page_lists_the_images_with_their_users_and_folders(helm: Helm) -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    objects = helm.render()
    for name in ("kafka", "s3", "postgresql"):
        spec = named(objects, "StatefulSet", f"flts-{name}")["spec"]["template"]["spec"]
        [found] = spec["containers"]
        image, user = found["image"], spec["securityContext"]["runAsUser"]
        row = re.search(rf"^\| `{re.escape(image)}` \| {user} \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
        assert row is not None, f"{image}, user {user}"
        assert row[2]
        written = {mount["mountPath"] for mount in found["volumeMounts"] if not mount.get("readOnly")}
        assert set(re.findall(r"`(/[^`]*)`", row[1])) == written


def test_the_server_of_mlflow_has_every_option_that_it_is_given(helm: Helm) -> None:
    from mlflow.cli import server

    known = {name for parameter in server.params for name in parameter.opts}
    given = [word.partition("=")[0] for word in container(helm, "Deployment", "flts-mlflow")["args"][1:]]
    assert given
    assert set(given) <= known


@pytest.mark.parametrize("name", ["kafka", "s3", "postgresql"])
def test_an_upgrade_replaces_a_server_that_never_started(helm: Helm, name: str) -> None:
    # with OrderedReady, Kubernetes waits for the pod of the wrong image to become ready
    assert named(helm.render(), "StatefulSet", f"flts-{name}")["spec"]["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize(
    ("name", "volume"), [("kafka", "/var/lib/kafka/data"), ("s3", "/data"), ("postgresql", "/var/lib/postgresql")]
)
def test_the_disk_is_where_the_image_declares_its_volume(helm: Helm, name: str, volume: str) -> None:
    # of a folder above it, the node would hide the part that the image declares, and it would be lost with the pod
    mounts = container(helm, "StatefulSet", f"flts-{name}")["volumeMounts"]
    assert {"name": "data", "mountPath": volume} in mounts
    variables = {one["name"]: one.get("value") for one in container(helm, "StatefulSet", f"flts-{name}")["env"]}
    folder = variables.get("KAFKA_LOG_DIRS") or variables.get("PGDATA")
    assert folder is None or folder.startswith(f"{volume}/")
