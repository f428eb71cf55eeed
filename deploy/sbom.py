"""Write the Python packages of each image as CycloneDX, from the locks: `make sbom` writes dist/flts-all.cdx.json.

Every package has its version and the digests that its files may have. The system packages of the base are not in it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
LOCKS = {"all": ("all", "mlflow-server", "torch-cpu"), "serve": ("serve",)}
"""The files of requirements/ that the Dockerfile installs for each VARIANT."""
REMOVED = {"editables", "hatchling", "trove-classifiers"}
"""What only builds FLTS, and leaves with the build."""
IN_IMAGE = {"python_version": "3.11", "python_full_version": "3.11.0", "sys_platform": "linux", "os_name": "posix"}
IN_IMAGE |= {"platform_system": "Linux", "implementation_name": "cpython", "platform_python_implementation": "CPython"}
ENTRY = re.compile(r"^([a-z0-9][a-z0-9-]*)==([^\s;]+)(?: ; (.+?))? \\\n((?: +--hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def requirements(variant: str) -> str:
    """The lines of the packages that are in an image, without their markers."""
    lines = []
    for lock in LOCKS[variant]:
        for name, version, marker, digests in ENTRY.findall((ROOT / f"requirements/{lock}.txt").read_text()):
            if name not in REMOVED and (not marker or Marker(marker).evaluate(IN_IMAGE)):
                lines.append(f"{name}=={version} \\\n{digests}")
    return "".join(lines)


def main() -> None:
    """Write one file for each variant."""
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    program = Path(sys.executable).parent / "cyclonedx-py"
    for variant in LOCKS:
        file = folder / f"flts-{variant}.cdx.json"
        command = [str(program), "requirements", "--pyproject", "pyproject.toml", "--output-reproducible"]
        command += ["--output-file", str(file), "-"]
        subprocess.run(command, cwd=ROOT, input=requirements(variant), text=True, check=True)
        print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
