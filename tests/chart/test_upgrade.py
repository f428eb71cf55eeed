"""An upgrade without a change renders identical objects; a change of what a Job runs makes a new Job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from tests.support.charts import CHART, RUN, TEMPLATES, VALUES, Helm, Manifest, named

CRON = ("--set", "preprocess.cronJob.enabled=true")


def jobs(objects: Sequence[Manifest]) -> dict[str, Manifest]:
    """The spec of every Job by name."""
    return {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "Job"}


@pytest.mark.parametrize("values", VALUES)
def test_two_renders_are_byte_equal_and_an_upgrade_is_a_render(helm: Helm, values: str) -> None:
    first = helm.text("--values", values)
    assert helm.text("--values", values) == first
    assert helm.text("--values", values, "--is-upgrade") == first


def test_the_revision_stands_in_one_object_that_no_name_or_checksum_includes() -> None:
    # no command renders another revision without a cluster, so the templates are looked at
    using = [
        line
        for file in TEMPLATES
        for line in file.read_text().splitlines()
        if ".Release.Revision" in line or ".Release.IsUpgrade" in line or ".Release.IsInstall" in line
    ]
    assert len(using) == 1
    assert '"revision" .Release.Revision' in using[0]
    for file in TEMPLATES:
        assert "config.yaml" not in file.read_text(), "a checksum of the whole file would include the revision"


def test_pods_read_the_release_as_a_file(helm: Helm) -> None:
    objects = helm.render("--set", "clusterName=c1,image.repository=here/flts,image.tag=1.2")
    written = yaml.safe_load(named(objects, "ConfigMap", "flts-release")["data"]["release.json"])
    assert written == {
        "chart": yaml.safe_load((CHART / "Chart.yaml").read_text())["version"],
        "cluster": "c1",
        "image": "here/flts:1.2",
        "namespace": "forecasts",
        "release": "flts",
        "revision": 1,
    }
    pod = named(objects, "Deployment", "flts-evaluate")["spec"]["template"]["spec"]
    assert {"name": "release", "configMap": {"name": "flts-release"}} in pod["volumes"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert {"name": "release", "mountPath": "/etc/flts-release", "readOnly": True} in mounts


@pytest.mark.parametrize(
    ("change", "renamed"),
    [
        (("--set", "image.tag=v2"), {"preprocess", "prepare", "secrets"}),
        (("--set", "spec.task.horizon=3"), {"preprocess"}),
        (("--set", "spec.dataset.source=s3://other/"), {"preprocess"}),
        (("--set", "preprocess.forceReprocess=1"), {"preprocess"}),
        (("--set", "kafka.partitions=3"), {"preprocess", "prepare"}),
        (("--set", "prepare.resources.limits.cpu=2"), {"prepare"}),
        (("--set", "evaluate.replicas=3"), set()),
        (("--set", "preprocess.forceReprocess=0"), set()),
        (("--set", "clusterName=c2"), set()),
        (("--set", "commonLabels.a=b"), set()),
    ],
)
def test_a_job_has_another_name_exactly_when_its_spec_changes(
    helm: Helm, change: tuple[str, ...], renamed: set[str]
) -> None:
    before, after = jobs(helm.render(*RUN)), jobs(helm.render(*RUN, *change))
    assert len(before) == len(after) == 3
    assert {name.split("-")[1] for name in set(after) - set(before)} == renamed
    assert all(after[name] == before[name] for name in set(after) & set(before))


def test_the_name_of_a_job_ends_in_ten_digits_of_its_digest(helm: Helm) -> None:
    assert all(re.fullmatch(r"flts-[a-z]+-[0-9a-f]{10}", name) for name in jobs(helm.render(*RUN)))


def test_each_value_of_force_reprocess_is_a_run_of_its_own(helm: Helm) -> None:
    def run(value: str) -> tuple[str, list[str]]:
        objects = helm.render(*RUN, *CRON, "--set", f"preprocess.forceReprocess={value}")
        [name] = [name for name in jobs(objects) if "preprocess" in name]
        args = jobs(objects)[name]["template"]["spec"]["containers"][0]["args"]
        by_clock = named(objects, "CronJob", "flts-preprocess")["spec"]["jobTemplate"]["spec"]["template"]
        assert "--recompute" not in by_clock["spec"]["containers"][0]["args"]
        return name, args

    (first, args), (second, _) = run("1"), run("2")
    assert first != second
    assert args == ["preprocess", "/etc/flts/flts.toml", "--recompute"]


def test_no_job_is_removed_before_its_end_can_be_seen(helm: Helm) -> None:
    assert not [name for name, spec in jobs(helm.render(*RUN)).items() if "ttlSecondsAfterFinished" in spec]


def test_a_new_version_of_the_chart_alone_changes_no_pod(helm: Helm, tmp_path: Path) -> None:
    def templates(version: str) -> list[Manifest]:
        done = helm.call("package", ".", "--version", version, "--destination", str(tmp_path))
        assert done.returncode == 0, done.stderr
        text = helm.call("template", "flts", f"{tmp_path}/flts-{version}.tgz", *RUN).stdout
        found = [one for one in yaml.safe_load_all(text) if one]
        return [one["spec"] for one in found if one["kind"] in {"Deployment", "StatefulSet", "Job"}]

    assert templates("1.0.0") == templates("1.0.1")
