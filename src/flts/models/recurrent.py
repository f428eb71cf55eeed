"""GRU and LSTM beside a linear path: window → last state → linear map, plus a linear map of the window itself.

Values of a window are measured from its last one, in units of its spread, so a level that train has not seen changes
nothing. Both maps start at zero. Where no epoch is better on the validation windows than the better baseline, the
linear path repeats that one (docs/decisions/0005, 0012). Columns that are known ahead enter the linear path; beside it,
a hidden layer for each step sees them, the calendar of the step and the last state. Losses are means over the measured
cells. Torch trains the network, and again on all of train for as many epochs as were best; the bundle holds it as an
ONNX file, written directly from the weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from flts.contracts.errors import TrainingFailed
from flts.contracts.ports import Progress
from flts.models import recurrent_graph, recurrent_version3
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.models.naive import last_season
from flts.models.past import LEAST
from flts.models.recurrent_graph import Node, Shapes, own_graph, to_onnx
from flts.models.recurrent_sight import Sight
from flts.models.ridge_design import CALM
from flts.preprocess.rows import Values
from flts.preprocess.transform import calendar
from flts.spec.models import GruParameters, LstmParameters, RecurrentParameters

if TYPE_CHECKING:
    import onnxruntime
    import torch

CLIP = 1.0
"""Largest norm of a gradient (Pascanu et al. 2013)."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
EPOCHS, UPDATES = 10, 1_500
"""Epochs, and updates in them at least, where the Spec names no number of epochs."""
GAIN = 0.005
"""Share of the validation loss that an epoch must take away for patience to begin anew."""
AT_ONCE = 512
"""Windows that are forecast at once; limits memory."""


@dataclass(frozen=True)
class Recurrent:
    """A recurrent network as a family; GRU and LSTM differ only in the cell."""

    cell: str
    name: str
    parameters: type[RecurrentParameters]
    version: int = 4
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
        sight = Sight.of(task)
        windows, judged = _Windows(block, task, sight), _Windows(validation, task, sight)
        network = self._network(windows, sight, recipe)
        baselines = _baselines(network, judged, task)
        season = min(baselines, key=lambda season: baselines[season])  # the last value on a tie
        fitted = _Fitted(0, baselines[season], network.repeat(season).weights())
        network.repeat(1)
        curve: list[tuple[float, float]] = []
        waited, least = 0, baselines[1]  # patience follows the losses of the network itself
        for epoch, of, train_loss in _epochs(network, windows, recipe):
            curve.append((train_loss, _loss(network, judged)))
            if not all(map(math.isfinite, curve[-1])):
                raise TrainingFailed(
                    f"the loss is not finite after epoch {epoch}: {curve[-1]}; lower learning_rate",
                    code="loss-not-finite",
                    epoch=epoch,
                )
            progress.epoch(epoch, of, *curve[-1])
            loss = curve[-1][1]
            if loss < fitted.loss:
                fitted = _Fitted(epoch, loss, network.weights())
            waited, least = (0, loss) if loss < (1.0 - GAIN) * least else (waited + 1, least)
            if waited >= recipe.patience:
                break
        chosen = {
            "anchor_season": season,
            "best_epoch": fitted.epoch,
            "epochs": len(curve),
            "untrained_mse": baselines[season],
            "validation_mse": fitted.loss,
        }
        return Fit(self._files(fitted.weights, sight), chosen, curve)

    def refit(
        self, block: Block, task: ForecastTask, recipe: Recipe[RecurrentParameters], chosen: Mapping[str, Any]
    ) -> Files:
        sight, best = Sight.of(task), chosen["best_epoch"]
        windows = _Windows(block, task, sight)
        network = self._network(windows, sight, recipe)
        if not best:
            return self._files(network.repeat(chosen["anchor_season"]).weights(), sight)
        for _ in itertools.islice(_epochs(network, windows, recipe), best):
            pass
        return self._files(network.weights(), sight)

    def _network(self, windows: _Windows, sight: Sight, recipe: Recipe[RecurrentParameters]) -> _Network:
        """A network before its first update."""
        import torch

        torch.manual_seed(recipe.seed)
        torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms() would import torch's compiler
        return _Network(self.cell, sight, recipe.parameters, windows.calm())

    def _files(self, weights: Mapping[str, torch.Tensor], sight: Sight) -> Files:
        from safetensors.numpy import save

        arrays = {name: weights[name].numpy() for name in sorted(weights)}
        return {"model.onnx": to_onnx(self.cell, arrays, sight), "weights.safetensors": save(arrays)}

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        graph, found = self.graph(files["model.onnx"], task)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return _Onnx(session, task, targets_alone=not recurrent_version3.wrote(found))

    def graph(self, data: bytes, task: ForecastTask) -> tuple[bytes, Shapes]:
        """The network in these bytes and its tensors, of this version or of version 3. Raises DamagedObject."""

        def expected(found: Shapes) -> tuple[Sequence[Node], Shapes]:
            if recurrent_version3.wrote(found):
                return recurrent_version3.expected(self.cell, found, task)
            return recurrent_graph.expected(self.cell, found, task)

        return own_graph(data, expected)


GRU = Recurrent("GRU", "gru", GruParameters)
LSTM = Recurrent("LSTM", "lstm", LstmParameters)


@dataclass(frozen=True)
class _Fitted:
    """The best weights so far: those of this epoch, 0 before the first, with this loss on the validation windows."""

    epoch: int
    loss: float
    weights: Mapping[str, torch.Tensor]


class _Onnx:
    def __init__(self, session: onnxruntime.InferenceSession, task: ForecastTask, targets_alone: bool) -> None:
        self._session, self._task, self.targets_alone = session, task, targets_alone

    def predict(self, window: Window) -> Values:
        task = self._task
        inputs = {"history": np.ascontiguousarray(window.features[:, -task.input_length :])}
        if task.known:
            ahead = [window.ahead, calendar(window.future(task.horizon), task.fitted)]
            inputs["ahead"] = np.concatenate(ahead, axis=-1, dtype=np.float32)
        (flat,) = self._session.run(None, inputs)
        return np.asarray(flat, dtype=np.float64).reshape(-1, task.horizon, task.targets)


class _Network:
    """The layers. Not a torch.nn.Module, because that class would import torch with this file.

    calm [targets]: the part of the squared scale of a window that all windows have, so that after a calm one the answer
    is not divided by almost nothing.
    """

    def __init__(self, cell: str, sight: Sight, parameters: RecurrentParameters, calm: torch.Tensor) -> None:
        import torch

        self._sight, self._calm = sight, calm
        layer, size = {"GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}[cell], parameters.hidden_size
        outputs = sight.horizon * sight.targets
        self.rnn = layer(sight.width, size, parameters.num_layers, batch_first=True)
        self.head = torch.nn.Linear(size, outputs)
        self.linear = torch.nn.Linear(sight.straight, outputs, bias=False)
        for tensor in (*self.head.parameters(), *self.linear.parameters()):
            torch.nn.init.zeros_(tensor)
        self.layers = torch.nn.ModuleDict({"rnn": self.rnn, "head": self.head, "linear": self.linear})
        if sight.known:
            self.of_state, self.effect = torch.nn.Linear(size, size), torch.nn.Linear(size, sight.targets)
            self.of_step = torch.nn.Linear(sight.ahead, size, bias=False)
            for tensor in self.effect.parameters():
                torch.nn.init.zeros_(tensor)
            self.layers.update({"of_state": self.of_state, "of_step": self.of_step, "effect": self.effect})
        self._target = torch.from_numpy(sight.target)

    def __call__(self, rows: torch.Tensor, ahead: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled forecasts [batch, horizon × targets] from values and calendar [batch, input_length, columns].

        ahead [batch, horizon, columns]: what is known of the rows to forecast, and their calendar.
        """
        import torch

        sight = self._sight
        values, dates = rows[..., : len(sight.columns)], rows[..., len(sight.columns) :]
        own = values[..., : sight.targets]
        level, scale = own[:, -1:], (own.var(1, correction=0, keepdim=True) + self._calm).sqrt()
        measured = (values - level[..., self._target]) / scale[..., self._target]
        seen = torch.cat([measured, dates], 2)[:, -sight.read :]
        states, _ = self.rnn(seen.reshape(len(rows), -1, sight.width))
        straight = [measured.flatten(1), dates[:, -1]]
        if ahead is not None:
            straight.append(ahead[..., : sight.known].flatten(1))
        answer = self.head(states[:, -1]) + self.linear(torch.cat(straight, 1))
        by_step = answer.view(len(rows), sight.horizon, sight.targets)
        if ahead is not None:
            by_step = by_step + self.effect(torch.relu(self.of_state(states[:, -1])[:, None] + self.of_step(ahead)))
        forecast: torch.Tensor = by_step * scale + level
        return forecast.flatten(1)

    def repeat(self, season: int) -> Self:
        """Let the linear path repeat the value one season earlier, 1: the last value; for an untrained network."""
        import torch

        sight, weight = self._sight, self.linear.weight
        rows = sight.length + last_season(season, sight.horizon)
        with torch.no_grad():
            weight.zero_()
            if season > 1:
                for output in range(len(weight)):
                    step, target = divmod(output, sight.targets)
                    weight[output, rows[step] * len(sight.columns) + target] = 1.0
        return self

    def weights(self) -> dict[str, torch.Tensor]:
        state = {name: tensor.detach().clone() for name, tensor in self.layers.state_dict().items()}
        return {**state, "calm": self._calm}


class _Windows:
    """Windows as views of the rows: a batch is gathered when it is needed, so the windows take no memory of their own.

    Answers are NaN where no target was measured.
    """

    def __init__(self, block: Block, task: ForecastTask, sight: Sight) -> None:
        import torch

        rows = torch.from_numpy(np.concatenate(sight.values(block.features), axis=1))
        self._targets = task.targets
        self._histories = rows.unfold(0, task.input_length, 1).transpose(1, 2)
        self._starts = torch.from_numpy(block.origins - task.input_length)
        self._answers = torch.from_numpy(block.answers(task).reshape(len(block.origins), -1).astype(np.float32))
        self._ahead: torch.Tensor | None = None
        if sight.known:
            seen = np.concatenate([block.known, block.features[:, sight.calendar]], axis=1, dtype=np.float32)
            later = torch.from_numpy(seen)[task.input_length :]
            self._ahead = later.unfold(0, task.horizon, 1).transpose(1, 2)

    def __len__(self) -> int:
        return len(self._starts)

    def batch(self, which: torch.Tensor) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """Rows [batch, input_length, columns], where columns are known ahead [batch, horizon, columns] of these rows,
        and answers [batch, horizon × targets].
        """
        starts = self._starts[which]
        seen = (self._histories,) if self._ahead is None else (self._histories, self._ahead)
        return [part[starts] for part in seen], self._answers[which]

    def calm(self) -> torch.Tensor:
        """CALM² times the mean squared spread of the windows, and never zero: [targets]."""
        import torch

        parts = torch.arange(len(self)).split(AT_ONCE)
        sums = [self.batch(which)[0][0][..., : self._targets].var(1, correction=0).sum(0) for which in parts]
        return CALM**2 * torch.stack(sums).sum(0) / len(self) + LEAST**2


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

    def step(self, share: float = 1.0) -> None:
        """Clip the norm of the gradient, take one step by a share of the learning rate, reset the gradient to zero."""
        self._steps += 1
        norm = float(self._gradient.norm())
        if norm > CLIP:
            self._gradient.mul_(CLIP / norm)
        self._mean.lerp_(self._gradient, 1.0 - BETA_1)
        self._square.mul_(BETA_2).addcmul_(self._gradient, self._gradient, value=1.0 - BETA_2)
        spread = (self._square / (1.0 - BETA_2**self._steps)).sqrt_().add_(EPSILON)
        self._values.addcdiv_(self._mean, spread, value=-share * self._rate / (1.0 - BETA_1**self._steps))
        self._gradient.zero_()


def _baselines(network: _Network, validation: _Windows, task: ForecastTask) -> dict[int, float]:
    """The loss of repeating the last value, 1, and of the shortest season where a window is as long."""
    seasons = (1, *(season for season in task.seasons[:1] if 1 < season <= task.input_length))
    return {season: _loss(network.repeat(season), validation) for season in seasons}


def planned(windows: int, parameters: RecurrentParameters) -> tuple[int, int]:
    """Epochs at most, and how often each passes over the windows."""
    if parameters.epochs:
        return parameters.epochs, 1
    batches = -(-windows // parameters.batch_size)
    return EPOCHS, math.ceil(UPDATES / (EPOCHS * batches))


def _epochs(
    network: _Network, windows: _Windows, recipe: Recipe[RecurrentParameters]
) -> Iterator[tuple[int, int, float]]:
    """Train; after each epoch, its number, how many there are at most, and its train loss.

    The learning rate falls by a cosine (Loshchilov and Hutter 2017, without restarts).
    """
    import torch

    parameters = recipe.parameters
    epochs, passes = planned(len(windows), parameters)
    every = epochs * passes * -(-len(windows) // parameters.batch_size)
    optimizer, updates = _Adam(network.layers, parameters.learning_rate), 0
    shuffle = torch.Generator().manual_seed(recipe.seed)
    for epoch in range(1, epochs + 1):
        total, cells = 0.0, 0
        order = [torch.randperm(len(windows), generator=shuffle) for _ in range(passes)]
        for which in (batch for of_pass in order for batch in of_pass.split(parameters.batch_size)):
            squares, measured = _squares(network, *windows.batch(which))
            share = 0.5 + 0.5 * math.cos(math.pi * updates / every)
            updates += 1
            if not measured:
                continue
            (squares / measured).backward()
            optimizer.step(share)
            total, cells = total + squares.item(), cells + measured
        yield epoch, epochs, total / cells


def _squares(network: _Network, inputs: Sequence[torch.Tensor], answers: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Sum of the squared scaled errors over the measured cells of a batch, and how many there are."""
    import torch

    measured = ~answers.isnan()
    errors = torch.where(measured, network(*inputs) - answers, 0.0)
    return errors.square().sum(), int(measured.sum())


def _loss(network: _Network, windows: _Windows) -> float:
    """Mean squared scaled error over the measured cells of all windows."""
    import torch

    with torch.inference_mode():
        total, cells = 0.0, 0
        for which in torch.arange(len(windows)).split(AT_ONCE):
            squares, measured = _squares(network, *windows.batch(which))
            total, cells = total + squares.item(), cells + measured
    return total / cells
