"""The rules of the Dockerfile that can be read in it; tests/deploy/test_image.py builds and runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support import ROOT

FILE = ROOT / "deploy/Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Name and text of each instruction; lines that go on are joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def of(name: str) -> list[str]:
    return [text for instruction, text in instructions() if instruction == name]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    checked = subprocess.run([program, str(FILE)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_every_stage_starts_from_the_base_that_is_named_by_its_digest() -> None:
    assert {text.split()[0] for text in of("FROM")} == {"${BASE}"}
    assert re.fullmatch(r"BASE=[\w.:/-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}", of("ARG")[0])
    assert ":latest" not in FILE.read_text()


def test_it_runs_as_a_numbered_user_that_is_not_root() -> None:
    assert of("USER") == ["10001:10001"]
    last = [name for name, _ in instructions()]
    assert last.index("USER") > max(index for index, name in enumerate(last) if name in {"RUN", "COPY"})


def test_it_adds_no_file_from_elsewhere() -> None:
    assert of("ADD") == []
    assert [text for text in of("COPY") if "://" in text] == []
    assert [text for text in of("RUN") if re.search(r"\b(curl|wget|apt-get)\b", text)] == []


def test_whatever_is_installed_has_a_digest() -> None:
    installs = re.findall(r"pip install ([^&;]*)", " ".join(of("RUN")))
    assert len(installs) == 4
    assert "PIP_REQUIRE_HASHES=1" in of("ENV")[0]
    from_here = [options for options in installs if options.strip().endswith(" .")]
    assert len(from_here) == 1
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(from_here[0].split())
    locks = {file for options in installs for file in re.findall(r"-r (\S+)", options)}
    assert locks == {f"requirements/{name}.txt" for name in ("all", "mlflow-server", "serve", "torch-cpu")}
    assert [file for file in locks if not (ROOT / file).is_file()] == []


def test_lightgbm_finds_the_libgomp_of_a_wheel() -> None:
    (link,) = [text for text in of("RUN") if "libgomp" in text]
    folder, files = re.findall(r"'\*/([\w.]+)/(libgomp[\w.*-]+)'", link)[0]
    installed = Path(sysconfig.get_path("purelib"))
    if find_spec("sklearn") is None or sys.platform != "linux":
        pytest.skip("needs scikit-learn on Linux")
    assert len([*(installed / folder).glob(files)]) == 1, "the wheel of scikit-learn holds another libgomp"
    # no cache: ldconfig lists a library by the name within it, and that of this file is not libgomp.so.1
    assert " /usr/lib/libgomp.so.1 \\; " in link
    assert "ldconfig" not in link
    assert '__import__("lightgbm")' in link


def test_it_starts_and_is_checked_without_a_shell() -> None:
    assert of("ENTRYPOINT") == ['["flts"]']
    assert of("HEALTHCHECK")[0].endswith('CMD ["flts", "health"]')
    assert of("CMD") == []


def test_secrets_come_as_mounts_and_stay_in_no_layer() -> None:
    names = [text.partition("=")[0] for text in of("ARG")] + re.findall(r"(\w+)=", " ".join(of("ENV")))
    assert [name for name in names if re.search("TOKEN|PASSWORD|SECRET|KEY", name)] == []
    assert [text for text in of("COPY") if re.search(r"pip\.conf|\.env|credentials", text)] == []


@pytest.mark.parametrize("label", ["title", "description", "licenses", "version", "revision", "created", "base.name"])
def test_it_has_the_labels_of_an_image(label: str) -> None:
    assert f"org.opencontainers.image.{label}=" in of("LABEL")[0]


def test_the_context_holds_what_is_copied_and_no_data_of_a_person() -> None:
    lines = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert "*" in lines
    copied = [path.rstrip("/") for text in of("COPY") if "--from" not in text for path in text.split()[:-1]]
    assert sorted(copied) == sorted(allowed)
    assert [path for path in copied if not (ROOT / path).exists()] == []
