"""Every named crash point and every write of the source code, found by reading it.

A write to a store goes through `write_once`, `write_record`, `point_at` or `take_away` with `at="name"`, which passes
`name.before` and `name.after`; a write to anything else passes the two itself, in the same function.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import flts

SOURCE = Path(flts.__file__).parent
PASSING_ON = {"contracts/ports.py", "contracts/records/base.py"}
"""Files that pass on the name from their caller."""
SIDES = ("before", "after")

_NAMED = {"write_once", "write_record", "point_at", "take_away"}
_STORE = {"create", "replace", "upload", "delete", "erase"}
_PATH = {"write_text", "write_bytes", "rename", "touch", "mkdir", "unlink", "rmdir", "symlink_to", "hardlink_to"}
_TABLE = {"write_csv", "write_parquet", "write_json", "write_ipc", "savefig", "tofile", "savez", "save_file"}
_SYSTEM = {
    "os": {
        "write",
        "rename",
        "replace",
        "remove",
        "unlink",
        "mkdir",
        "makedirs",
        "rmdir",
        "link",
        "symlink",
        "truncate",
    },
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move", "rmtree"},
    "tempfile": {
        "TemporaryFile",
        "NamedTemporaryFile",
        "TemporaryDirectory",
        "SpooledTemporaryFile",
        "mkstemp",
        "mkdtemp",
    },
}


@dataclass(frozen=True)
class Call:
    """One call in the source code: `file:function` is where, `what` is called."""

    file: str
    function: str
    line: int
    what: str

    @property
    def place(self) -> str:
        """File, function and what is called there; stays the same when lines move."""
        return f"{self.file} {self.function} {self.what}"


def names(source: Path = SOURCE) -> list[str]:
    """The name of every write, sorted. Raises ValueError for one that is no literal, or that two writes share."""
    calls: dict[str, Call] = {}
    for call, node in _calls(source):
        if call.file in PASSING_ON:
            continue
        for name in _names(call, node):
            if name in calls:
                raise ValueError(f"{_where(call)} and {_where(calls[name])} share the name '{name}'")
            calls[name] = call
    return sorted(calls)


def points(source: Path = SOURCE) -> list[str]:
    """Every point at which a process can be ended, sorted."""
    return sorted(f"{name}.{side}" for name in names(source) for side in SIDES)


def writes(source: Path = SOURCE) -> list[Call]:
    """Every call that writes, or may write, to a store or to a disk."""
    return [call for call, node in _calls(source) if _writes(node)]


def unnamed(source: Path = SOURCE) -> list[Call]:
    """Every write that is not between the two points of a name, in the order of the code."""
    before: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    after: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for call, node in _calls(source):
        if call.what == "failpoint" and call.file not in PASSING_ON:
            (point,) = _literals(call, node.args[0])
            name, _, side = point.rpartition(".")
            (before if side == "before" else after)[call.file, call.function][name] = call.line

    def named(call: Call) -> bool:
        place = call.file, call.function
        return any(line < call.line < after[place].get(name, 0) for name, line in before[place].items())

    return [call for call in writes(source) if not named(call)]


def _calls(source: Path) -> Iterator[tuple[Call, ast.Call]]:
    for path in sorted(source.rglob("*.py")):
        file = path.relative_to(source).as_posix()
        yield from _calls_in(ast.parse(path.read_text(), file), file, "module")


def _calls_in(node: ast.AST, file: str, function: str) -> Iterator[tuple[Call, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else function
        if isinstance(child, ast.Call):
            yield Call(file, function, child.lineno, ast.unparse(child.func)), child
        yield from _calls_in(child, file, inside)


def _names(call: Call, node: ast.Call) -> Sequence[str]:
    """The names of the writes that this call makes."""
    function = call.what.rpartition(".")[2]
    if function in _NAMED:
        given = next((keyword.value for keyword in node.keywords if keyword.arg == "at"), None)
        return _literals(call, given)
    if function == "failpoint":
        (point,) = _literals(call, node.args[0] if node.args else None)
        name, _, side = point.rpartition(".")
        if side not in SIDES:
            raise ValueError(f"{_where(call)}: a point is named NAME.before or NAME.after, this one '{point}'")
        return [name] if side == "before" else []
    return []


def _literals(call: Call, node: ast.expr | None) -> list[str]:
    match node:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.IfExp(body=body, orelse=otherwise):
            return _literals(call, body) + _literals(call, otherwise)
        case _:
            raise ValueError(f"{_where(call)}: the name of a write must be a literal, or one of two by a condition")


def _writes(node: ast.Call) -> bool:
    match node.func:
        case ast.Name(id="open"):
            return _may_write(node, position=1)
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _SYSTEM:
            return name in _SYSTEM[module] or (name in {"open", "fdopen"} and _may_write(node, position=1))
        case ast.Attribute(attr="open"):
            return _may_write(node, position=0)
        case ast.Attribute(value=ast.Attribute(attr="str"), attr="replace"):
            return False  # a column of a table
        case ast.Attribute(attr="rename") if node.args and isinstance(node.args[0], ast.Dict | ast.DictComp):
            return False  # columns of a table
        case ast.Attribute(attr="replace"):
            # text.replace("a", "b") and moment.replace(year=2026) write nothing
            return bool(node.args) and not all(isinstance(argument, ast.Constant) for argument in node.args)
        case ast.Attribute(attr=name):
            return name in _STORE | _PATH | _TABLE
        case _:
            return False


def _may_write(node: ast.Call, *, position: int) -> bool:
    """Whether a call of `open` has a mode that is not plainly one for reading."""
    given = [keyword.value for keyword in node.keywords if keyword.arg == "mode"] + node.args[position : position + 1]
    return any(not (isinstance(mode, ast.Constant) and set(str(mode.value)) <= set("rbt")) for mode in given)


def _where(call: Call) -> str:
    return f"{call.file}:{call.line}"
