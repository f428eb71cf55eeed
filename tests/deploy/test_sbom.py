"""The list of packages of an image is that of its locks, for Linux; test_image.py compares it with the image."""

from __future__ import annotations

import re

from tests.deploy.test_images import script


def names(variant: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9][a-z0-9-]*)==", script("sbom").requirements(variant), re.MULTILINE))


def test_it_names_what_an_image_is_for() -> None:
    assert {"torch", "prophet", "statsforecast", "lightgbm", "mlflow", "psycopg2-binary", "boto3"} <= names("all")
    assert {"onnxruntime", "fastapi", "confluent-kafka"} <= names("serve")
    assert names("serve") < names("all")


def test_it_names_nothing_of_other_systems_and_nothing_that_leaves_with_the_build() -> None:
    assert not {"colorama", "pywin32", "waitress", "hatchling", "editables"} & names("all")


def test_the_locks_it_reads_are_those_of_the_dockerfile() -> None:
    sbom = script("sbom")
    text = (sbom.ROOT / "deploy/Dockerfile").read_text()
    assert set(re.findall(r"requirements/([\w-]+)\.txt", text)) == {
        name for group in sbom.LOCKS.values() for name in group
    }
    removed = re.search(r"pip uninstall --yes (.+)", text)
    assert removed is not None
    assert set(removed[1].split()) == sbom.REMOVED
