"""GRU and LSTM: the ONNX file against torch, the optimizer against torch's, and which epoch is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load
from tests.support.families import FAMILIES, blocks, has_libraries, recipe, task_on, use_one_thread
from tests.support.series import hourly

from flts.contracts.errors import TrainingFailed
from flts.contracts.ports import Silent
from flts.models.anchor import Anchor, best_anchor
from flts.models.base import Block, Floats, ForecastTask, Indices, Window
from flts.models.recurrent import CLIP, GRU, LSTM, Recurrent, _Adam, _Windows, to_onnx
from flts.preprocess.rows import Values

pytestmark = pytest.mark.skipif(not has_libraries("gru"), reason="needs the extra 'torch'")

if TYPE_CHECKING:
    import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    use_one_thread(FAMILIES["gru"])


both = pytest.mark.parametrize("family", [GRU, LSTM], ids=lambda family: family.name)


class Told(Silent):
    """Remembers the losses of every epoch."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, int, float, float]] = []

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self.epochs.append((done, of, train_loss, val_loss))


def network(cell: str, layers: int, features: int, hidden: int, outputs: int) -> torch.nn.ModuleDict:
    """Torch's own layers with random weights ten times those of a fresh network, so that every gate moves."""
    import torch

    torch.manual_seed(layers)
    rnn = {"GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}[cell](features, hidden, layers, batch_first=True)
    made = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(hidden, outputs)})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return made


def window_of(features: Floats, task: ForecastTask) -> Window:
    """A window whose features are these."""
    made = Window(np.zeros(features.shape[:2], np.int64), np.zeros((*features.shape[:2], 1)), task.fitted)
    made.__dict__["features"] = features
    return made


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("layers", [1, 2, 3])
@both
def test_the_onnx_file_forecasts_what_torch_does(family: Recurrent, layers: int, batch: int) -> None:
    import torch

    task = replace(task_on(hourly(60), ("load", "wind"), seasons=()), input_length=7, horizon=2)
    made = network(family.cell, layers, features=5, hidden=6, outputs=4)
    weights = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
    anchor = Anchor.of(2, task)
    predictor = family.load({"model.onnx": to_onnx(family.cell, weights, 7, anchor)}, task)
    features = np.random.default_rng(0).normal(size=(batch, 7, 5)).astype(np.float32)
    with torch.inference_mode():
        states, _ = made["rnn"](torch.from_numpy(features))
        learned = made["head"](states[:, -1]).numpy().reshape(batch, 2, 2)
    expected = learned + features[:, -2:, anchor.columns] * anchor.factor + anchor.shift
    answers = predictor.predict(window_of(features, task))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(answers / scale, expected / scale, atol=1e-6)


def test_fifty_steps_of_the_optimizer_are_those_of_torch_with_clipping() -> None:
    import torch

    ours, theirs = (torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)) for _ in "ab")
    theirs.load_state_dict(ours.state_dict())
    optimizer = _Adam(ours, 0.01)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    norms = []
    for step in range(50):
        x, y = torch.randn(16, 4, generator=generator), torch.randn(16, 2, generator=generator)
        y = y * (20.0 if step % 2 else 0.1)  # gradients above and below the norm at which they are clipped
        torch.nn.functional.mse_loss(ours(x), y).backward()
        optimizer.step()
        reference.zero_grad()
        torch.nn.functional.mse_loss(theirs(x), y).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)))
        reference.step()
    assert min(norms) < CLIP < max(norms)
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def data(seed: int = 0, **task: Any) -> tuple[ForecastTask, Block, Block]:
    rows = hourly(160, seed=seed)
    made = task_on(rows, **{"input_length": 6, "horizon": 2, **task})
    return made, *blocks(rows, made)


def tail_error(family: Recurrent, files: Any, tail: Block, task: ForecastTask) -> float:
    """Mean squared error of the ONNX file over the tail."""
    windows, answers = tail.windows(task)
    found: Values = family.load(files, task).predict(window_of(windows, task))
    return float(np.mean((found - answers) ** 2))


@both
def test_the_epoch_that_is_best_on_the_tail_is_the_one_that_is_kept(family: Recurrent) -> None:
    task, block, tail = data()
    told = Told()
    given = recipe(family.name, epochs=30, learning_rate=0.05, hidden_size=8, patience=30)
    fit = family.fit(block, tail, task, given, told)
    validation = [loss for _, loss in fit.curve]
    best = int(np.argmin(validation))
    assert 0 < best < len(validation) - 1, "neither the first nor the last epoch, or this test shows nothing"
    assert fit.chosen == {
        "anchor_season": 1,
        "best_epoch": best + 1,
        "epochs": 30,
        "validation_mse": validation[best],
    }
    assert tail_error(family, fit.files, tail, task) == pytest.approx(validation[best], rel=1e-5)
    assert told.epochs == [(n, 30, *losses) for n, losses in enumerate(fit.curve, 1)]


@pytest.mark.parametrize("patience", [1, 2, 4])
@both
def test_a_fit_stops_after_that_many_epochs_without_a_better_tail(family: Recurrent, patience: int) -> None:
    task, block, tail = data()
    given = recipe(family.name, epochs=60, learning_rate=0.05, hidden_size=8, patience=patience)
    fit = family.fit(block, tail, task, given, Silent())
    validation = [loss for _, loss in fit.curve]
    first_best = int(np.argmin(validation))
    assert len(validation) < 60, "it ran to the end, so this test shows nothing"
    assert len(validation) == first_best + 1 + patience
    for epoch in range(patience, len(validation) - 1):  # and not one epoch earlier
        assert min(validation[epoch - patience + 1 : epoch + 1]) < min(validation[: epoch - patience + 1])


def finite_epochs(learning_rate: float) -> tuple[int, str]:
    """How many epochs went well, and what was said of the next one."""
    task, block, tail = data()
    told = Told()
    with pytest.raises(TrainingFailed) as raised:
        GRU.fit(block, tail, task, recipe("gru", epochs=50, learning_rate=learning_rate, batch_size=512), told)
    return len(told.epochs), str(raised.value)


@pytest.mark.parametrize(("learning_rate", "epochs"), [(1e30, 0), (6e17, 1)])
def test_a_loss_that_is_not_finite_fails_the_training_and_names_the_epoch(learning_rate: float, epochs: int) -> None:
    done, reason = finite_epochs(learning_rate)
    assert done == epochs
    assert f"not finite after epoch {epochs + 1}" in reason
    assert "learning_rate" in reason


@both
def test_the_weights_file_is_the_network_that_the_onnx_file_is(family: Recurrent) -> None:
    task, block, tail = data()
    fit = family.fit(block, tail, task, recipe(family.name), Silent())
    anchor = Anchor.of(fit.chosen["anchor_season"], task)
    weights = load(fit.files["weights.safetensors"])
    assert to_onnx(family.cell, weights, task.input_length, anchor) == fit.files["model.onnx"]


@both
def test_the_seed_decides_the_weights(family: Recurrent) -> None:
    task, block, tail = data()
    first, again, other = (
        family.fit(block, tail, task, recipe(family.name, seed=seed), Silent()).files for seed in (1, 1, 2)
    )
    assert first == again
    assert first["weights.safetensors"] != other["weights.safetensors"]


def test_windows_are_views_of_the_rows_and_a_batch_is_what_numpy_gathers() -> None:
    import torch

    task, block, _ = data()
    anchor = best_anchor(block, task)
    windows = _Windows(block, task, anchor)
    assert windows._histories.untyped_storage().data_ptr() == torch.from_numpy(block.features).data_ptr()
    which = torch.tensor([3, 0, 7])
    histories, answers = windows.batch(which)
    origins: Indices = block.origins[[3, 0, 7]]
    expected, truth = replace(block, origins=origins).windows(task)
    np.testing.assert_array_equal(histories.numpy(), expected)
    left = truth - anchor.forecast(replace(block, origins=origins), task)
    np.testing.assert_array_equal(answers.numpy(), left.reshape(3, -1).astype(np.float32))


def test_a_window_that_is_not_an_origin_is_never_trained_on() -> None:
    task, block, tail = data()
    with_gap = replace(block, origins=block.origins[::3])
    unused = np.setdiff1d(np.arange(len(block.targets)), with_gap.origins[:, None] + np.arange(task.horizon))
    targets = block.targets.copy()
    targets[unused] = np.nan
    fit = GRU.fit(replace(with_gap, targets=targets), tail, task, recipe("gru"), Silent())
    assert fit.files == GRU.fit(with_gap, tail, task, recipe("gru"), Silent()).files
