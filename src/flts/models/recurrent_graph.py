"""A recurrent network as ONNX: `history` [batch, input_length, features] → `forecast` [batch, horizon × targets].

Where columns are known ahead there is a second input, `ahead` [batch, horizon, columns]: these and the calendar of the
rows to forecast. The graph is written directly from weights, and checked against what is written here before the
runtime sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flts.contracts.errors import DamagedObject
from flts.models.base import Floats, ForecastTask
from flts.models.recurrent_sight import Sight

OPSET, IR_VERSION = 17, 8
GATES: Mapping[str, Sequence[int]] = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""Order of the gate blocks: torch stacks r,z,n and i,f,g,o; ONNX wants z,r,h and i,o,f,c."""

_EFFECT = {
    "of_state_weight": ("of_state.weight", False),
    "of_state_bias": ("of_state.bias", False),
    "of_step_weight": ("of_step.weight", True),
    "effect_weight": ("effect.weight", True),
    "effect_bias": ("effect.bias", False),
}
"""The tensors of what is known ahead, the weights that they are, and whether these are transposed: MatMul cannot."""

Attributes = Mapping[str, Any]
Node = tuple[str, Sequence[str], Sequence[str], Attributes]
"""An operator, the names of its inputs and outputs, and its attributes."""
Shapes = Mapping[str, tuple[int, ...]]


def to_onnx(cell: str, weights: Mapping[str, Floats], sight: Sight) -> bytes:
    """Write a network that sees features in this way."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    layers = layers_of(weights, "rnn.weight_ih_l")
    hidden = weights["head.weight"].shape[1]
    arrays = {
        **sight.tensors(),
        "calm": weights["calm"],
        "head_weight": weights["head.weight"],
        "head_bias": weights["head.bias"],
        "linear_weight": weights["linear.weight"],
        **{name: weights[of].T if turned else weights[of] for name, (of, turned) in _EFFECT.items() if sight.known},
        **cell_tensors(cell, weights, layers),
    }
    seen = {
        "history": (sight.length, sight.features),
        **({"ahead": (sight.horizon, sight.ahead)} if sight.known else {}),
    }
    outputs = weights["head.bias"].shape[0]
    graph = helper.make_graph(
        [
            helper.make_node(kind, inputs, outputs, **extra)
            for kind, inputs, outputs, extra in _nodes(cell, layers, hidden, sight)
        ],
        cell,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]) for name, shape in seen.items()],
        [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="flts"
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def layers_of(named: Mapping[str, Any], prefix: str) -> int:
    """How many layers a network has whose tensors these are."""
    return sum(name.startswith(prefix) for name in named)


def expected(cell: str, found: Shapes, task: ForecastTask) -> tuple[Sequence[Node], Shapes]:
    """What `to_onnx` writes for this task; the sizes that a Spec chooses, of the state and the layers, are as found."""
    sight, layers = Sight.of(task), layers_of(found, "w_")
    hidden, outputs = (*found.get("head_weight", ()), 0, 0)[1], task.horizon * task.targets
    shapes = {
        **{name: array.shape for name, array in sight.tensors().items()},
        "calm": (task.targets,),
        "head_weight": (outputs, hidden),
        "head_bias": (outputs,),
        "linear_weight": (outputs, sight.straight),
        **_effect_shapes(found, hidden, sight),
        **cell_shapes(cell, layers, hidden, sight.width),
    }
    return list(_nodes(cell, layers, hidden, sight)), shapes


def _nodes(cell: str, layers: int, hidden: int, sight: Sight) -> Iterator[Node]:
    """The operators of a network, in order; `Network` in recurrent.py computes the same."""
    yield "Gather", ["history", "value_columns"], ["features"], {"axis": 2}
    yield "Mul", ["features", "value_factor"], ["stretched"], {}
    yield "Add", ["stretched", "value_shift"], ["values"], {}
    # the level and the scale of the window, for each target
    yield "Gather", ["values", "own_columns"], ["own"], {"axis": 2}
    yield "Gather", ["own", "last_row"], ["level"], {"axis": 1}
    yield "ReduceMean", ["own"], ["mean"], {"axes": [1], "keepdims": 1}
    yield "Sub", ["own", "mean"], ["centred"], {}
    yield "Mul", ["centred", "centred"], ["squares"], {}
    yield "ReduceMean", ["squares"], ["variance"], {"axes": [1], "keepdims": 1}
    yield "Add", ["variance", "calm"], ["wide"], {}
    yield "Sqrt", ["wide"], ["scale"], {}
    yield "Gather", ["level", "target_of_value"], ["levels"], {"axis": 2}
    yield "Gather", ["scale", "target_of_value"], ["scales"], {"axis": 2}
    yield "Sub", ["values", "levels"], ["moved"], {}
    yield "Div", ["moved", "scales"], ["measured"], {}
    yield "Flatten", ["measured"], ["past"], {}
    # the network proper, and the linear path beside it
    rows, straight = "measured", ["past"]
    if len(sight.calendar):
        yield "Gather", ["history", "calendar_columns"], ["dates"], {"axis": 2}
        yield "Concat", ["measured", "dates"], ["seen"], {"axis": 2}
        yield "Gather", ["dates", "last_row"], ["last_dates"], {"axis": 1}
        yield "Flatten", ["last_dates"], ["now"], {}
        yield "Concat", ["past", "now"], ["past_and_now"], {"axis": 1}
        rows, straight = "seen", ["past_and_now"]
    if sight.known:
        yield "Gather", ["ahead", "known_columns"], ["known"], {"axis": 2}
        yield "Flatten", ["known"], ["known_ahead"], {}
        yield "Concat", [*straight, "known_ahead"], ["all"], {"axis": 1}
        straight = ["all"]
    yield "Gather", [rows, "newest_rows"], ["newest"], {"axis": 1}
    yield "Reshape", ["newest", "patches"], ["patched"], {}
    yield from cell_nodes(cell, layers, hidden, "patched")
    yield "Gemm", ["state", "head_weight", "head_bias"], ["learned"], {"transB": 1}
    yield "Gemm", [*straight, "linear_weight"], ["linear"], {"transB": 1}
    yield "Add", ["learned", "linear"], ["answer"], {}
    yield "Reshape", ["answer", "steps"], ["by_step"], {}
    answer = "by_step"
    if sight.known:
        yield from _effect_nodes()
        yield "Add", ["by_step", "effect"], ["with_effect"], {}
        answer = "with_effect"
    yield "Mul", [answer, "scale"], ["by_scale"], {}
    yield "Add", ["by_scale", "level"], ["by_level"], {}
    yield "Flatten", ["by_level"], ["forecast"], {}


def _effect_nodes() -> Iterator[Node]:
    """From the state and `ahead` to the `effect` [batch, horizon, targets] of what is known of each step."""
    yield "Gemm", ["state", "of_state_weight", "of_state_bias"], ["of_state"], {"transB": 1}
    yield "Unsqueeze", ["of_state", "step_axis"], ["of_every_step"], {}
    yield "MatMul", ["ahead", "of_step_weight"], ["of_step"], {}
    yield "Add", ["of_every_step", "of_step"], ["together"], {}
    yield "Relu", ["together"], ["units"], {}
    yield "MatMul", ["units", "effect_weight"], ["turned"], {}
    yield "Add", ["turned", "effect_bias"], ["effect"], {}


def _effect_shapes(found: Shapes, hidden: int, sight: Sight) -> Shapes:
    """The shapes of `_EFFECT`; none where nothing is known ahead."""
    if not sight.known:
        return {}
    shapes = (hidden, hidden), (hidden,), (sight.ahead, hidden), (hidden, sight.targets), (sight.targets,)
    return dict(zip(_EFFECT, shapes, strict=True))


def cell_nodes(cell: str, layers: int, hidden: int, source: str) -> Iterator[Node]:
    """From rows [batch, rows, columns] named `source` to the `state` [batch, hidden] after the last one."""
    # torch's GRU applies the reset gate after the recurrent product, which ONNX calls linear_before_reset
    extra: Attributes = {"hidden_size": hidden} | ({"linear_before_reset": 1} if cell == "GRU" else {})
    yield "Transpose", [source], ["rows_0"], {"perm": [1, 0, 2]}
    for layer in range(layers):
        inputs = [f"rows_{layer}", f"w_{layer}", f"r_{layer}", f"b_{layer}"]
        yield cell, inputs, [f"states_{layer}", f"last_{layer}"], extra
        if layer < layers - 1:
            yield "Squeeze", [f"states_{layer}", "direction"], [f"rows_{layer + 1}"], {}
    yield "Squeeze", [f"last_{layers - 1}", "first"], ["state"], {}


def cell_tensors(cell: str, weights: Mapping[str, Floats], layers: int) -> dict[str, Any]:
    """The tensors that `cell_nodes` names."""
    tensors: dict[str, Any] = {"first": np.array([0], np.int64)}
    if layers > 1:  # the runtime would warn of an unused tensor at every load
        tensors["direction"] = np.array([1], np.int64)
    for layer in range(layers):
        tensors |= dict(zip((f"w_{layer}", f"r_{layer}", f"b_{layer}"), _gates(cell, weights, layer), strict=True))
    return tensors


def cell_shapes(cell: str, layers: int, hidden: int, columns: int) -> dict[str, tuple[int, ...]]:
    """Their shapes."""
    gates = len(GATES[cell]) * hidden
    shapes: dict[str, tuple[int, ...]] = {"first": (1,)}
    if layers > 1:
        shapes["direction"] = (1,)
    for layer in range(layers):
        shapes[f"w_{layer}"] = (1, gates, hidden if layer else columns)
        shapes[f"r_{layer}"] = (1, gates, hidden)
        shapes[f"b_{layer}"] = (1, 2 * gates)
    return shapes


def _gates(cell: str, weights: Mapping[str, Floats], layer: int) -> tuple[Floats, Floats, Floats]:
    """Input weights, recurrent weights and biases of one layer in the order and shape of ONNX: [directions = 1, …]."""
    count = len(GATES[cell])

    def ordered(name: str) -> Floats:
        blocks = np.split(weights[f"rnn.{name}_l{layer}"], count)
        return np.concatenate([blocks[i] for i in GATES[cell]])

    biases = np.concatenate([ordered("bias_ih"), ordered("bias_hh")])
    return ordered("weight_ih")[None], ordered("weight_hh")[None], biases[None]


def own_graph(data: bytes, expected: Callable[[Shapes], tuple[Sequence[Node], Shapes]]) -> tuple[bytes, Shapes]:
    """The network in ONNX bytes and the shapes of its tensors, if it is one that flts writes. Raises DamagedObject.

    expected: the operators and shapes that a graph with these shapes must have. Whatever else ONNX can say is refused
    before the runtime sees it: other operators and those that hold graphs, such as an endless Loop, functions, data in
    files beside the model, and tensors whose product would not fit into memory.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    def refused(what: str) -> DamagedObject:
        return DamagedObject(
            f"model.onnx is damaged: it has {what}, which flts does not write; restore the bundle from a backup",
            code="graph-unusual",
            found=what,
        )

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise refused("bytes that are no ONNX") from None
    model.DiscardUnknownFields()  # the runtime gets only what is checked here
    graph = model.graph
    for message, known in (
        (model, "ir_version opset_import producer_name graph"),
        (graph, "node name initializer input output"),
        *((node, "input output op_type attribute") for node in graph.node),
        *((attribute, "name type i ints") for node in graph.node for attribute in node.attribute),
        *((tensor, "dims data_type name raw_data") for tensor in graph.initializer),
    ):
        other = {field.name for field, _ in message.ListFields()} - set(known.split())
        if other:
            raise refused(f"{', '.join(sorted(other))} in {type(message).__name__}")
    if [(used.domain, used.version) for used in model.opset_import] != [("", OPSET)]:
        raise refused("other sets of operators")
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    nodes, wanted = expected(shapes)
    if shapes != wanted or len(shapes) != len(graph.initializer):
        raise refused("tensors of other shapes")
    if [_said(node) for node in graph.node] != [(kind, [*i], [*o], dict(extra)) for kind, i, o, extra in nodes]:
        raise refused("other operators")
    whole: bytes = model.SerializeToString(deterministic=True)
    return whole, shapes


def _said(node: Any) -> tuple[str, list[str], list[str], dict[str, Any]]:
    return node.op_type, [*node.input], [*node.output], {a.name: list(a.ints) or a.i for a in node.attribute}
