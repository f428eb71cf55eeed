"""Outputs of each stage on fixed rows, pinned to code versions: `python -m tests.golden.outputs` writes the files.

A result that is stored under a hash is never computed again, so code that gives another result must give another hash.
Each file holds the cases (`cases/`) of one stage or family and the versions they belong to. If you change an output,
raise the version and write the files again. The command refuses to write another output under the same version; it
adds new cases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.golden.cases import ensemble, evaluate, judge, models, preprocess, train
from tests.support.families import has_libraries

import flts.evaluate
import flts.preprocess
import flts.train
from flts.models.ensemble import Ensemble
from flts.models.registry import BUILT_IN
from flts.train.determinism import made_on

FOLDER = Path(__file__).parent / "outputs"
COMMAND = "python -m tests.golden.outputs"
RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Floats are equal bit for bit on one kind of processor only: on another, numeric libraries choose other kernels, which
add in another order. A change of what is computed is far larger than this."""
FITTED_ELSEWHERE = 1e-3
"""Forecasts of a family may differ by this share on another processor, because a fit adds up its rounding errors."""
MOST_SHOWN = 5

Versions = Mapping[str, int]
Outputs = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """Makes the cases of one golden file; `raised` says which version to raise when one of them changes.

    family: the family that the cases fit, whose libraries and processor are compared too.
    """

    make: Callable[[], Outputs]
    raised: str
    versions: Callable[[], Versions]
    family: str | None = None


def _of_stages(*names: str) -> Callable[[], Versions]:
    """The code versions of these stages, and of ridge, with which train is tried."""

    def found() -> Versions:
        every = {
            "preprocess": flts.preprocess.CODE_VERSION,
            "train": flts.train.CODE_VERSION,
            "ridge": BUILT_IN["ridge"].version,
            "evaluate": flts.evaluate.CODE_VERSION,
            "ensemble": Ensemble.version,
        }
        return {name: every[name] for name in names}

    return found


def _of_family(name: str) -> Versions:
    return {**_of_stages("preprocess", "train")(), name: BUILT_IN[name].version}


def _file_of(family: str) -> str:
    return type(BUILT_IN[family]).__module__.replace(".", "/")


STAGES: Mapping[str, Stage] = {
    "preprocess": Stage(preprocess.cases, "CODE_VERSION in src/flts/preprocess/__init__.py", _of_stages("preprocess")),
    "train": Stage(
        train.cases,
        "CODE_VERSION in src/flts/train/__init__.py, or the version of ridge where only the family changed",
        _of_stages("preprocess", "train", "ridge"),
    ),
    "evaluate": Stage(evaluate.cases, "CODE_VERSION in src/flts/evaluate/__init__.py", _of_stages("evaluate")),
    "judge": Stage(
        judge.cases,
        "CODE_VERSION in src/flts/evaluate/__init__.py",
        _of_stages("preprocess", "train", "ridge", "evaluate"),
    ),
    "ensemble": Stage(
        ensemble.cases,
        "the version of the ensemble in src/flts/models/ensemble.py",
        _of_stages("preprocess", "train", "ridge", "ensemble"),
    ),
}
FAMILIES: Mapping[str, Stage] = {
    f"family-{name}": Stage(
        partial(models.fitted, name),
        f"the version of {name} in src/{_file_of(name)}.py, or CODE_VERSION in src/flts/train/__init__.py where every"
        " family changed",
        partial(_of_family, name),
        name,
    )
    for name in BUILT_IN
}
EVERY = {**STAGES, **FAMILIES}


def skipped(stage: str) -> str | None:
    """Why the outputs of a family cannot be compared here; None if they can."""
    family = EVERY[stage].family
    if family is None:
        return None
    if not has_libraries(family):
        return f"needs the extra '{BUILT_IN[family].extra}'"
    stored, here = _stored(stage).get("made_on"), _made_here(stage)
    if stored and here and stored["libraries"] != here["libraries"]:
        return f"the golden {family} was made with {stored['libraries']}, here are {here['libraries']}"
    return None


def fault(stage: str) -> str | None:
    """How a stage differs from its golden file and what to do about it; None if it does not."""
    golden, versions = _stored(stage), EVERY[stage].versions()
    if golden["versions"] != versions:
        return (
            f"the golden outputs of {stage} belong to the versions {golden['versions']}, the code has"
            f" {versions}; write them again: {COMMAND}"
        )
    made = EVERY[stage].make()
    changed = _changed(stage, golden, made)
    if changed is None and made.keys() - golden["outputs"].keys():
        return f"{stage} has cases without a golden output; write them: {COMMAND}"
    return changed


def _changed(stage: str, golden: Mapping[str, Any], made: Outputs) -> str | None:
    """How the cases of a golden file changed; further cases do not count."""
    before, relative = golden["outputs"], RELATIVE
    if golden.get("made_on") != _made_here(stage):
        before, relative = {"forecasts": before["forecasts"]}, FITTED_ELSEWHERE
    found = list(differences(before, {name: made[name] for name in before if name in made}, relative=relative))
    if not found:
        return None
    shown = "".join(f"\n  {line}" for line in found[:MOST_SHOWN])
    return (
        f"{len(found)} outputs of {stage} changed and its version did not, so what is stored under the same hash would"
        f" differ:{shown}\nraise {EVERY[stage].raised}, then write the golden outputs again: {COMMAND}"
    )


def differences(golden: Any, found: Any, path: str = "", relative: float = RELATIVE) -> Iterator[str]:
    """Where two JSON values differ by more than the last bits of a float."""
    if isinstance(golden, Mapping) and isinstance(found, Mapping):
        for key in sorted({*golden, *found}):
            below = f"{path}.{key}" if path else key
            if key in golden and key in found:
                yield from differences(golden[key], found[key], below, relative)
            else:
                yield f"{below}: {'added' if key in found else 'gone'}"
    elif isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        for i, (a, b) in enumerate(zip(golden, found, strict=True)):
            yield from differences(a, b, f"{path}[{i}]", relative)
    elif isinstance(golden, float) and isinstance(found, float):
        if not math.isclose(golden, found, rel_tol=relative, abs_tol=ABSOLUTE):
            yield f"{path}: {golden!r} → {found!r}"
    elif golden != found or type(golden) is not type(found):
        yield f"{path}: {golden!r:.60} → {found!r:.60}"


def main() -> None:
    """Write the files whose versions were raised or that are absent, and add new cases to the others."""
    FOLDER.mkdir(exist_ok=True)
    for name, stage in EVERY.items():
        if stage.family is not None and not has_libraries(stage.family):
            print(f"{name} is left as it is: {skipped(name)}")
            continue
        golden, made = _stored(name), stage.make()
        outputs: dict[str, Any] = {"versions": stage.versions(), "outputs": made}
        if stage.family is not None:
            outputs["made_on"] = _made_here(name)
        if golden and golden["versions"] == outputs["versions"]:
            if (reason := skipped(name)) is not None:
                print(f"{name} is left as it is: {reason}")
                continue
            if (message := _changed(name, golden, made)) is not None:
                raise SystemExit(message)
            if made.keys() == golden["outputs"].keys() or golden.get("made_on") != _made_here(name):
                continue
            outputs["outputs"] = {**made, **golden["outputs"]}
        text = json.dumps(outputs, indent=1, sort_keys=True, allow_nan=False)
        (FOLDER / f"{name}.json").write_text(text + "\n")


def _made_here(stage: str) -> dict[str, Any] | None:
    """Libraries and processor here, where the outputs of a stage depend on them."""
    family = EVERY[stage].family
    return None if family is None else made_on(BUILT_IN[family].libraries).model_dump(mode="json")


def _stored(stage: str) -> dict[str, Any]:
    """The golden file of a stage; empty where it has none."""
    file = FOLDER / f"{stage}.json"
    stored: dict[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}
    return stored


if __name__ == "__main__":
    main()
