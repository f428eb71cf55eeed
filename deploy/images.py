"""Check that every image of the deployment stands in images.lock, and with --release that each has a digest."""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
UNRESOLVED = "unresolved"


def locked() -> dict[str, str]:
    """Digest, or "unresolved", by name and tag of each image in the lock."""
    entries = tomllib.loads((FOLDER / "images.lock").read_text())["image"]
    return {f"{entry['name']}:{entry['tag']}": entry["digest"] for entry in entries}


def unresolved() -> list[str]:
    """The images whose digest nobody has read yet."""
    return sorted(image for image, digest in locked().items() if digest == UNRESOLVED)


def main() -> int:
    """Print each image with its digest. Exit codes: 0 all well, 1 a release has images without a digest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", action="store_true", help="refuse images without a digest")
    release = parser.parse_args().release
    for image, digest in locked().items():
        print(f"{image} {digest}")
    for image in unresolved() if release else ():
        print(
            f"error: {image} has no digest; read it from its registry and write it to {FOLDER / 'images.lock'}",
            file=sys.stderr,
        )
    return 1 if release and unresolved() else 0


if __name__ == "__main__":
    sys.exit(main())
