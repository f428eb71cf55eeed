"""A release has one version, a clean checkout and a digest for every image, or it is refused before it is built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.deploy.test_images import FOLDER, script
from tests.support import ROOT

LOCK = """
[[image]]
name = "docker.io/library/one"
tag = "1"
digest = "{}"
read = ""
"""


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return script("release")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A committed checkout of version 1.2.0rc1 with nothing in it but versions."""
    files = {
        "src/flts/version.py": '__version__ = "1.2.0rc1"\n',
        "deploy/helm/flts/Chart.yaml": "version: 1.2.0-rc.1\nappVersion: 1.2.0rc1\n",
        "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n## 1.2.0rc1 - 2026-11-30\n\n## 1.1.0\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout_of_one_version_has_nothing_against_it(release: Any, tree: Path) -> None:
    assert release.uncommitted(tree) == []
    assert release.other_versions(tree) == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.txt"])
def test_a_change_that_is_in_no_commit_is_refused(release: Any, tree: Path, name: str) -> None:
    (tree / name).write_text("more\n")
    [said] = release.uncommitted(tree)
    assert name in said


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("src/flts/version.py", "rc1", "rc2", ["1.2.0-rc.2", "1.2.0rc2", "## 1.2.0rc2"]),
        ("deploy/helm/flts/Chart.yaml", "-rc.1", "-rc.2", ["version 1.2.0-rc.2"]),
        ("deploy/helm/flts/Chart.yaml", "appVersion: 1.2.0rc1", "appVersion: 1.2.0", ["appVersion 1.2.0"]),
        ("CHANGELOG.md", "## 1.2.0rc1", "### 1.2.0rc1", ["1.1.0"]),
        ("CHANGELOG.md", "## 1", "### 1", ["no version"]),
    ],
    ids=["code", "chart", "application", "changelog", "nothing-released"],
)
def test_another_version_is_named_with_its_file(
    release: Any, tree: Path, file: str, old: str, new: str, says: list[str]
) -> None:
    changed = tree / file
    changed.write_text(changed.read_text().replace(old, new))
    said = release.other_versions(tree)
    assert len(said) == len(says)
    assert [text for text, line in zip(says, said, strict=True) if text not in line] == []


@pytest.mark.parametrize(
    ("python", "chart"),
    [("0.1.0.dev0", "0.1.0-dev.0"), ("1.0.0", "1.0.0"), ("1.0.0a2", "1.0.0-a.2"), ("1.0.0.post1", "1.0.0-post.1")],
)
def test_a_version_is_written_as_the_chart_needs_it(release: Any, python: str, chart: str) -> None:
    assert release.as_chart(python) == chart


def test_the_chart_of_this_checkout_has_its_version(release: Any) -> None:
    assert [line for line in release.other_versions(ROOT) if line.startswith("Chart.yaml")] == []


def test_an_image_without_a_digest_is_refused_by_name(release: Any, tmp_path: Path) -> None:
    lock = tmp_path / "images.lock"
    lock.write_text(LOCK.format("unresolved"))
    [said] = release.without_digest(lock)
    assert "docker.io/library/one:1" in said
    assert "--resolve" in said
    lock.write_text(LOCK.format("sha256:" + "0" * 64))
    assert release.without_digest(lock) == []


def test_every_part_of_a_release_has_the_same_version(release: Any) -> None:
    steps = release.steps("1.2.0rc1", "abc", "2026-11-30T00:00:00Z")
    assert [step.makes for step in steps] == [
        "flts-1.2.0rc1-py3-none-any.whl",
        "flts-1.2.0-rc.1.tgz",
        "image flts:1.2.0rc1",
        "image flts:1.2.0rc1-serve",
        "flts-*.cdx.json",
    ]
    built = [step.command for step in steps if step.makes.startswith("image ")]
    assert all({"VERSION=1.2.0rc1", "REVISION=abc"} <= set(command) for command in built)
    assert ["TORCH_INDEX" in command for command in built] == [True, False]


@pytest.mark.slow
def test_a_dry_run_without_docker_says_what_is_missing_and_builds_nothing(tmp_path: Path) -> None:
    for program in ("git", "sh"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    environment = {name: value for name, value in os.environ.items() if name not in {"HELM", "TORCH_INDEX"}}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "release.py"), "--dry-run"],
        env=environment | {"PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.splitlines() == errors
    for missing in ("no docker", "no helm", "TORCH_INDEX"):
        assert sum(missing in line for line in errors) == 1
    assert "docker build" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("nothing was built")


def test_the_wheel_and_its_digest_are_made_by_the_first_step(release: Any, tmp_path: Path) -> None:
    """From a copy, because a build writes beside its sources."""
    number = release.version()
    step = release.steps(number, "abc", "2026-11-30T00:00:00Z")[0]
    command = [str(tmp_path) if word == str(release.DIST) else word for word in step.command]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "0"})
    assert release.sums(tmp_path).split()[1] == step.makes == next(tmp_path.iterdir()).name
