"""GRU and LSTM: window [input_length, features] → last state → linear map, added to a baseline's forecast.

The linear map starts at zero. An untrained network, epoch 0, therefore forecasts as the better baseline does, and is
kept where no epoch is better on the validation windows (docs/decisions/0005). Losses are means over the measured cells.
Torch trains the network; the bundle holds it as an ONNX file, written directly from the weights of the best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flts.contracts.errors import DamagedObject, TrainingFailed
from flts.contracts.ports import Progress
from flts.models.anchor import Anchor, best_anchor
from flts.models.base import Block, Files, Fit, Floats, ForecastTask, History, Predictor, Recipe, Window
from flts.preprocess.rows import Values
from flts.spec.models import GruParameters, LstmParameters, RecurrentParameters

if TYPE_CHECKING:
    import onnxruntime
    import torch

CLIP = 1.0
"""Largest norm of a gradient (Pascanu et al. 2013)."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
OPSET, IR_VERSION = 17, 8
GATES: Mapping[str, Sequence[int]] = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""Order of the gate blocks: torch stacks r,z,n and i,f,g,o; ONNX wants z,r,h and i,o,f,c."""

Attributes = Mapping[str, Any]
Node = tuple[str, Sequence[str], Sequence[str], Attributes]
"""An operator, the names of its inputs and outputs, and its attributes."""


@dataclass(frozen=True)
class Recurrent:
    """A recurrent network as a family; GRU and LSTM differ only in the cell."""

    cell: str
    name: str
    parameters: type[RecurrentParameters]
    version: int = 3
    extra: str | None = "torch"
    libraries: Sequence[str] = ("torch", "onnx", "onnxruntime")
    cost: int = 4

    def history(self, task: ForecastTask) -> History:
        return History(wanted=task.lookback, minimum=task.input_length)

    def fit(
        self,
        block: Block,
        validation: Block,
        task: ForecastTask,
        recipe: Recipe[RecurrentParameters],
        progress: Progress,
    ) -> Fit:
        import torch
        from safetensors.numpy import save

        torch.manual_seed(recipe.seed)
        torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms() would import torch's compiler
        network = _Network(self.cell, block.features.shape[1], task, recipe.parameters)
        anchor = best_anchor(validation, task)
        fit_windows, val_windows = (_Windows(part, task, anchor) for part in (block, validation))
        untrained = _loss(network, val_windows)
        curve, best, weights = _train(network, fit_windows, val_windows, untrained, recipe, progress)
        arrays = {name: weights[name].numpy() for name in sorted(weights)}
        graph = to_onnx(self.cell, arrays, task.input_length, anchor)
        files = {"model.onnx": graph, "weights.safetensors": save(arrays)}
        chosen = {
            "anchor_season": anchor.season,
            "best_epoch": best,
            "epochs": len(curve),
            "untrained_mse": untrained,
            "validation_mse": curve[best - 1][1] if best else untrained,
        }
        return Fit(files, chosen, curve)

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        graph = own_graph(self.cell, files["model.onnx"], task)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return _Onnx(session, task)


GRU = Recurrent("GRU", "gru", GruParameters)
LSTM = Recurrent("LSTM", "lstm", LstmParameters)


class _Onnx:
    def __init__(self, session: onnxruntime.InferenceSession, task: ForecastTask) -> None:
        self._session, self._task = session, task

    def predict(self, window: Window) -> Values:
        task = self._task
        features = np.ascontiguousarray(window.features[:, -task.input_length :])
        (flat,) = self._session.run(None, {"history": features})
        return np.asarray(flat, dtype=np.float64).reshape(-1, task.horizon, task.targets)


class _Network:
    """The layers. Not a torch.nn.Module, because that class would import torch with this file."""

    def __init__(self, cell: str, features: int, task: ForecastTask, parameters: RecurrentParameters) -> None:
        import torch

        layer = {"GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}[cell]
        self.parameters = parameters
        self.rnn = layer(features, parameters.hidden_size, parameters.num_layers, batch_first=True)
        self.head = torch.nn.Linear(parameters.hidden_size, task.horizon * task.targets)
        for tensor in self.head.parameters():
            torch.nn.init.zeros_(tensor)
        self.layers = torch.nn.ModuleDict({"rnn": self.rnn, "head": self.head})

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(windows)
        forecast: torch.Tensor = self.head(states[:, -1])
        return forecast

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.layers.state_dict().items()}


class _Windows:
    """Windows as views of the rows: a batch is gathered when it is needed, so the windows take no memory of their own.

    The answer that a network learns is the target minus the anchor's forecast, NaN where no target was measured.
    """

    def __init__(self, block: Block, task: ForecastTask, anchor: Anchor) -> None:
        import torch

        self._histories = torch.from_numpy(block.features).unfold(0, task.input_length, 1).transpose(1, 2)
        self._starts = torch.from_numpy(block.origins - task.input_length)
        answers = (block.answers(task) - anchor.forecast(block, task)).reshape(len(block.origins), -1)
        self._answers = torch.from_numpy(answers.astype(np.float32))

    def __len__(self) -> int:
        return len(self._starts)

    def batch(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Histories [batch, input_length, features] and answers [batch, horizon × targets]."""
        return self._histories[self._starts[which]], self._answers[which]


class _Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) with gradient clipping, on all parameters as one vector.

    torch.optim takes the same steps, but its first one imports torch's compiler, which takes longer than the whole fit
    of a small series. One vector also needs only a tenth of the calls.
    """

    def __init__(self, layers: torch.nn.Module, learning_rate: float) -> None:
        import torch

        self._rate, self._steps = learning_rate, 0
        parameters = list(layers.parameters())
        self._values = torch.cat([p.detach().reshape(-1) for p in parameters])
        self._gradient, self._mean, self._square = (torch.zeros_like(self._values) for _ in range(3))
        start = 0
        for parameter in parameters:
            part = slice(start, start + parameter.numel())
            parameter.data = self._values[part].view_as(parameter)
            parameter.grad = self._gradient[part].view_as(parameter)
            start = part.stop

    def step(self) -> None:
        """Clip the norm of the gradient, take one step, and reset the gradient to zero."""
        self._steps += 1
        norm = float(self._gradient.norm())
        if norm > CLIP:
            self._gradient.mul_(CLIP / norm)
        self._mean.lerp_(self._gradient, 1.0 - BETA_1)
        self._square.mul_(BETA_2).addcmul_(self._gradient, self._gradient, value=1.0 - BETA_2)
        spread = (self._square / (1.0 - BETA_2**self._steps)).sqrt_().add_(EPSILON)
        self._values.addcdiv_(self._mean, spread, value=-self._rate / (1.0 - BETA_1**self._steps))
        self._gradient.zero_()


def _train(
    network: _Network,
    windows: _Windows,
    validation: _Windows,
    untrained: float,
    recipe: Recipe[RecurrentParameters],
    progress: Progress,
) -> tuple[list[tuple[float, float]], int, dict[str, torch.Tensor]]:
    """Train; return the losses of each epoch, the number of the best epoch and its weights.

    untrained: the validation loss of epoch 0, which is kept while no epoch is better.
    """
    import torch

    parameters = network.parameters
    optimizer = _Adam(network.layers, parameters.learning_rate)
    shuffle = torch.Generator().manual_seed(recipe.seed)
    curve: list[tuple[float, float]] = []
    best, least, kept = 0, untrained, network.weights()
    for epoch in range(1, parameters.epochs + 1):
        total, cells = 0.0, 0
        for which in torch.randperm(len(windows), generator=shuffle).split(parameters.batch_size):
            squares, measured = _squares(network, *windows.batch(which))
            if not measured:
                continue
            (squares / measured).backward()
            optimizer.step()
            total, cells = total + squares.item(), cells + measured
        curve.append((total / cells, _loss(network, validation)))
        if not all(map(math.isfinite, curve[-1])):
            raise TrainingFailed(
                f"the loss is not finite after epoch {epoch}: {curve[-1]}; lower learning_rate",
                code="loss-not-finite",
                epoch=epoch,
            )
        progress.epoch(epoch, parameters.epochs, *curve[-1])
        if curve[-1][1] < least:
            best, least, kept = epoch, curve[-1][1], network.weights()
        elif epoch - best >= recipe.patience:
            break
    return curve, best, kept


def _squares(network: _Network, histories: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Sum of the squared scaled errors over the measured cells of a batch, and how many there are."""
    import torch

    measured = ~answers.isnan()
    errors = torch.where(measured, network(histories) - answers, 0.0)
    return errors.square().sum(), int(measured.sum())


def _loss(network: _Network, windows: _Windows, batch_size: int = 512) -> float:
    """Mean squared scaled error over the measured cells of all windows."""
    import torch

    with torch.inference_mode():
        total, cells = 0.0, 0
        for which in torch.arange(len(windows)).split(batch_size):
            squares, measured = _squares(network, *windows.batch(which))
            total, cells = total + squares.item(), cells + measured
    return total / cells


def to_onnx(cell: str, weights: Mapping[str, Floats], input_length: int, anchor: Anchor) -> bytes:
    """Write the network as ONNX: `history` [batch, input_length, features] → `forecast` [batch, horizon × targets]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    hidden = weights["head.weight"].shape[1]
    features = weights["rnn.weight_ih_l0"].shape[1]
    tensors: list[Any] = [
        numpy_helper.from_array(weights["head.weight"], "head_weight"),
        numpy_helper.from_array(weights["head.bias"], "head_bias"),
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(anchor.rows, "anchor_rows"),
        numpy_helper.from_array(anchor.columns, "anchor_columns"),
        numpy_helper.from_array(anchor.factor.astype(np.float32), "anchor_factor"),
        numpy_helper.from_array(anchor.shift.astype(np.float32), "anchor_shift"),
    ]
    layers = sum(name.startswith("rnn.weight_ih_l") for name in weights)
    if layers > 1:  # the runtime would warn of an unused tensor at every load
        tensors.append(numpy_helper.from_array(np.array([1], np.int64), "direction"))
    for layer in range(layers):
        w, r, b = _gates(cell, weights, layer)
        tensors += [numpy_helper.from_array(t, f"{n}_{layer}") for n, t in (("w", w), ("r", r), ("b", b))]
    outputs = weights["head.bias"].shape[0]
    graph = helper.make_graph(
        [
            helper.make_node(kind, inputs, outputs, **extra)
            for kind, inputs, outputs, extra in _nodes(cell, layers, hidden)
        ],
        cell,
        [helper.make_tensor_value_info("history", TensorProto.FLOAT, ["batch", input_length, features])],
        [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", outputs])],
        tensors,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="flts"
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _nodes(cell: str, layers: int, hidden: int) -> list[Node]:
    """The operators of a network, in order."""
    # torch's GRU applies the reset gate after the recurrent product, which ONNX calls linear_before_reset
    extra: Attributes = {"hidden_size": hidden} | ({"linear_before_reset": 1} if cell == "GRU" else {})
    nodes: list[Node] = [("Transpose", ["history"], ["rows_0"], {"perm": [1, 0, 2]})]
    for layer in range(layers):
        inputs = [f"rows_{layer}", f"w_{layer}", f"r_{layer}", f"b_{layer}"]
        nodes.append((cell, inputs, [f"states_{layer}", f"last_{layer}"], extra))
        nodes.append(("Squeeze", [f"states_{layer}", "direction"], [f"rows_{layer + 1}"], {}))
    nodes[-1] = ("Squeeze", [f"last_{layers - 1}", "first"], ["state"], {})
    return [
        *nodes,
        ("Gemm", ["state", "head_weight", "head_bias"], ["learned"], {"transB": 1}),
        ("Gather", ["history", "anchor_rows"], ["newest"], {"axis": 1}),
        ("Gather", ["newest", "anchor_columns"], ["past"], {"axis": 2}),
        ("Mul", ["past", "anchor_factor"], ["stretched"], {}),
        ("Add", ["stretched", "anchor_shift"], ["naive"], {}),
        ("Flatten", ["naive"], ["anchor"], {}),
        ("Add", ["learned", "anchor"], ["forecast"], {}),
    ]


def own_graph(cell: str, data: bytes, task: ForecastTask) -> bytes:
    """The network in ONNX bytes, if it is one that `to_onnx` writes for this task. Raises DamagedObject.

    Whatever else ONNX can say is refused before the runtime sees it: other operators and those that hold graphs, such
    as an endless Loop, functions, data in files beside the model, and tensors whose product would not fit into memory.
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
    layers = sum(name.startswith("w_") for name in shapes)
    wanted = _shapes(cell, layers, shapes, task)
    if shapes != wanted or len(shapes) != len(graph.initializer):
        raise refused("tensors of other shapes")
    nodes = [
        (n.op_type, list(n.input), list(n.output), {a.name: list(a.ints) or a.i for a in n.attribute})
        for n in graph.node
    ]
    if nodes != _nodes(cell, layers, shapes["head_weight"][1]):
        raise refused("other operators")
    whole: bytes = model.SerializeToString(deterministic=True)
    return whole


def _shapes(
    cell: str, layers: int, found: Mapping[str, tuple[int, ...]], task: ForecastTask
) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of a network for this task. The number of hidden states and features is as found."""
    hidden = (*found.get("head_weight", ()), 0, 0)[1]
    features = (*found.get("w_0", ()), 0, 0, 0)[2]
    gates, outputs = len(GATES[cell]) * hidden, task.horizon * task.targets
    shapes: dict[str, tuple[int, ...]] = {
        "head_weight": (outputs, hidden),
        "head_bias": (outputs,),
        "first": (1,),
        "anchor_rows": (task.horizon,),
        "anchor_columns": (task.targets,),
        "anchor_factor": (task.targets,),
        "anchor_shift": (task.targets,),
    }
    if layers > 1:
        shapes["direction"] = (1,)
    for layer in range(layers):
        shapes[f"w_{layer}"] = (1, gates, hidden if layer else features)
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
