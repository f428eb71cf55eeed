"""Check that every image of the deployment stands in images.lock, and with --release that each has a digest.

`--resolve` asks the registry for the digests that are unresolved, with docker, and writes them to the lock.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
LOCK = FOLDER / "images.lock"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
UNRESOLVED = "unresolved"
INSPECT = ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}")
"""Prints the digest of the index of an image, the one for all its platforms."""


def locked(lock: Path = LOCK) -> dict[str, str]:
    """Digest, or "unresolved", by name and tag of each image in the lock."""
    entries = tomllib.loads(lock.read_text())["image"]
    return {f"{entry['name']}:{entry['tag']}": entry["digest"] for entry in entries}


def unresolved(lock: Path = LOCK) -> list[str]:
    """The images whose digest nobody has read yet."""
    return sorted(image for image, digest in locked(lock).items() if digest == UNRESOLVED)


def resolve(lock: Path = LOCK) -> list[str]:
    """Read the unresolved digests and write each to the lock; returns why those that are left could not be read."""
    left = []
    for image in unresolved(lock):
        try:
            done = subprocess.run([*INSPECT, image], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return [f"{INSPECT[0]} is not installed, and it reads the digests"]
        found = done.stdout.strip()
        if done.returncode or not DIGEST.fullmatch(found):
            said = done.stderr.strip().splitlines() or [f"{found!r} is no digest"]
            left.append(f"{image}: {said[-1]}")
            continue
        name, tag = image.rsplit(":", 1)
        entry = f'name = "{name}"\ntag = "{tag}"\n'
        empty = f'{entry}digest = "{UNRESOLVED}"\nread = ""\n'
        read = f'{entry}digest = "{found}"\nread = "the registry, by {" ".join(INSPECT[:4])}"\n'
        before = lock.read_text()
        if empty in before:
            lock.write_text(before.replace(empty, read))
        else:
            left.append(f'{image}: write name, tag, digest = "{UNRESOLVED}" and read = "" in this order in {lock.name}')
    return left


def main() -> int:
    """Print each image with its digest. Exit codes: 0 all well, 1 a digest that is asked for is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", action="store_true", help="refuse images without a digest")
    parser.add_argument("--resolve", action="store_true", help="read the digests that are missing, and keep them")
    arguments = parser.parse_args()
    wrong = resolve() if arguments.resolve else []
    for image, digest in locked().items():
        print(f"{image} {digest}")
    if arguments.release and not arguments.resolve:
        wrong = [f"{image} has no digest; `python deploy/images.py --resolve` reads it" for image in unresolved()]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
