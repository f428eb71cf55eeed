"""GRU and LSTM: the ONNX file and the optimizer against torch, and which epoch is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load
from tests.support.families import FAMILIES, blocks, has_libraries, recipe, task_on, use_one_thread
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import DamagedObject, TrainingFailed
from flts.contracts.ports import Silent
from flts.models.anchor import Anchor, best_anchor
from flts.models.base import Block, Floats, ForecastTask, Indices, Window
from flts.models.recurrent import CLIP, GRU, LSTM, Recurrent, _Adam, _Network, _squares, _Windows, own_graph, to_onnx
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
    """Layers of torch with large random weights, so that every gate moves."""
    import torch

    torch.manual_seed(layers)
    rnn = {"GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}[cell](features, hidden, layers, batch_first=True)
    layers_of_torch = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(hidden, outputs)})
    with torch.no_grad():
        for parameter in layers_of_torch.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return layers_of_torch


def window_of(features: Floats, task: ForecastTask) -> Window:
    """A window with these features."""
    empty = np.zeros((*features.shape[:2], 1))
    window = Window(np.zeros(features.shape[:2], np.int64), empty, empty == 0.0, task.fitted)
    window.__dict__["features"] = features
    return window


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("layers", [1, 2, 3])
@both
def test_the_onnx_file_forecasts_as_torch_does(family: Recurrent, layers: int, batch: int) -> None:
    import torch

    task = replace(task_on(hourly(60), ("load", "wind"), seasons=()), input_length=7, horizon=2)
    torch_network = network(family.cell, layers, features=5, hidden=6, outputs=4)
    weights = {name: tensor.numpy() for name, tensor in torch_network.state_dict().items()}
    anchor = Anchor.of(2, task)
    predictor = family.load({"model.onnx": to_onnx(family.cell, weights, 7, anchor)}, task)
    features = np.random.default_rng(0).normal(size=(batch, 7, 5)).astype(np.float32)
    with torch.inference_mode():
        states, _ = torch_network["rnn"](torch.from_numpy(features))
        learned = torch_network["head"](states[:, -1]).numpy().reshape(batch, 2, 2)
    expected = learned + features[:, -2:, anchor.columns] * anchor.factor + anchor.shift
    answers = predictor.predict(window_of(features, task))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(answers / scale, expected / scale, atol=1e-6)


def test_the_optimizer_takes_the_steps_of_torch_with_clipping() -> None:
    import torch

    ours, theirs = (torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)) for _ in "ab")
    theirs.load_state_dict(ours.state_dict())
    optimizer = _Adam(ours, 0.01)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    norms = []
    for step in range(50):
        x, y = torch.randn(16, 4, generator=generator), torch.randn(16, 2, generator=generator)
        y = y * (20.0 if step % 2 else 0.1)  # gradients above and below the clipping norm
        torch.nn.functional.mse_loss(ours(x), y).backward()
        optimizer.step()
        reference.zero_grad()
        torch.nn.functional.mse_loss(theirs(x), y).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)))
        reference.step()
    assert min(norms) < CLIP < max(norms)
    for mine, reference_values in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference_values, rtol=1e-4, atol=1e-6)


def data(seed: int = 0, **task: Any) -> tuple[ForecastTask, Block, Block]:
    rows = hourly(160, seed=seed)
    fitted = task_on(rows, **{"input_length": 6, "horizon": 2, **task})
    return fitted, *blocks(rows, fitted)


def validation_error(family: Recurrent, files: Any, validation: Block, task: ForecastTask) -> float:
    """Mean squared error of the ONNX file over the validation windows."""
    windows, answers = validation.windows(task)
    forecasts: Values = family.load(files, task).predict(window_of(windows, task))
    return float(np.mean((forecasts - answers) ** 2))


@both
def test_the_best_epoch_on_the_validation_windows_is_kept(family: Recurrent) -> None:
    task, block, validation = data()
    told = Told()
    fit_recipe = recipe(family.name, epochs=30, learning_rate=0.05, hidden_size=8, patience=30)
    fit = family.fit(block, validation, task, fit_recipe, told)
    val_losses = [fit.chosen["untrained_mse"], *(loss for _, loss in fit.curve)]
    best = int(np.argmin(val_losses))
    assert 1 < best < len(val_losses) - 1, "the best epoch must be in the middle, or this test proves nothing"
    assert fit.chosen == {
        "anchor_season": 1,
        "best_epoch": best,
        "epochs": 30,
        "untrained_mse": val_losses[0],
        "validation_mse": val_losses[best],
    }
    assert validation_error(family, fit.files, validation, task) == pytest.approx(val_losses[best], rel=1e-5)
    assert told.epochs == [(n, 30, *losses) for n, losses in enumerate(fit.curve, 1)]


@pytest.mark.parametrize("patience", [1, 2, 4])
@both
def test_a_fit_stops_after_patience_epochs_without_improvement(family: Recurrent, patience: int) -> None:
    task, block, validation = data()
    fit_recipe = recipe(family.name, epochs=60, learning_rate=0.05, hidden_size=8, patience=patience)
    fit = family.fit(block, validation, task, fit_recipe, Silent())
    val_losses = [fit.chosen["untrained_mse"], *(loss for _, loss in fit.curve)]
    first_best = int(np.argmin(val_losses))
    assert len(val_losses) < 61, "it ran to the end, so this test proves nothing"
    assert len(val_losses) == first_best + 1 + patience
    for epoch in range(patience, len(val_losses) - 1):  # and not one epoch earlier
        assert min(val_losses[epoch - patience + 1 : epoch + 1]) < min(val_losses[: epoch - patience + 1])


@both
def test_the_untrained_network_is_kept_where_no_epoch_is_better(family: Recurrent) -> None:
    task, block, validation = data()
    noise = np.random.default_rng(0).normal(size=block.targets.shape)  # nothing to learn
    fit_recipe = recipe(family.name, epochs=9, learning_rate=0.3, patience=4)
    fit = family.fit(replace(block, targets=5.0 * noise), validation, task, fit_recipe, Silent())
    assert (fit.chosen["best_epoch"], fit.chosen["epochs"], len(fit.curve)) == (0, 4, 4)
    assert min(loss for _, loss in fit.curve) > fit.chosen["untrained_mse"] == fit.chosen["validation_mse"]
    histories, _ = validation.windows(task)
    anchor = best_anchor(validation, task).forecast(validation, task)
    np.testing.assert_allclose(family.load(fit.files, task).predict(window_of(histories, task)), anchor, atol=1e-6)


def with_holes(block: Block, share: float = 0.3) -> Block:
    """The block with this share of its target cells empty."""
    holes = np.random.default_rng(1).random(block.targets.shape) < share
    return replace(block, targets=np.where(holes, np.nan, block.targets))


@both
def test_losses_are_means_over_the_measured_cells(family: Recurrent) -> None:
    task, block, validation = data(targets=("load", "wind"))
    block, validation = with_holes(block), with_holes(validation)
    still = recipe(family.name, epochs=1, learning_rate=1e-12, batch_size=7)
    fit = family.fit(block, validation, task, still, Silent())
    anchor = Anchor.of(fit.chosen["anchor_season"], task)
    losses = [
        float(np.nanmean((anchor.forecast(part, task) - part.answers(task)) ** 2)) for part in (block, validation)
    ]
    assert fit.curve[0] == pytest.approx(losses, rel=1e-5)
    assert fit.chosen["untrained_mse"] == pytest.approx(losses[1], rel=1e-5)


def test_the_gradient_comes_from_the_measured_cells_alone() -> None:
    import torch

    task, block, validation = data(targets=("load", "wind"))
    block = with_holes(block)
    windows = _Windows(block, task, best_anchor(validation, task))
    histories, answers = windows.batch(torch.arange(20))
    network = _Network("GRU", block.features.shape[1], task, recipe("gru").parameters)
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    gradients = []
    for masked in (True, False):
        network.layers.zero_grad()
        if masked:
            squares, measured = _squares(network, histories, answers)
            (squares / measured).backward()
        else:
            where = ~answers.isnan()
            torch.nn.functional.mse_loss(network(histories)[where], answers[where]).backward()
        parts = [p.grad.reshape(-1) for p in network.layers.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert gradients[1].norm() > 0.01
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


@both
def test_a_batch_without_a_measured_cell_is_skipped(family: Recurrent) -> None:
    task, block, validation = data()
    targets = block.targets.copy()
    targets[40:60] = np.nan
    fit_recipe = recipe(family.name, epochs=2, batch_size=1)
    fit = family.fit(replace(block, targets=targets), validation, task, fit_recipe, Silent())
    assert np.isfinite(fit.curve).all()
    assert all(np.isfinite(weights).all() for weights in load(fit.files["weights.safetensors"]).values())


@pytest.mark.parametrize(("learning_rate", "finite_epochs"), [(1e30, 0), (6e17, 1)])
def test_a_loss_that_is_not_finite_fails_the_fit_and_names_the_epoch(learning_rate: float, finite_epochs: int) -> None:
    task, block, validation = data()
    told = Told()
    fit_recipe = recipe("gru", epochs=50, learning_rate=learning_rate, batch_size=512)
    with raises(TrainingFailed, code="loss-not-finite", epoch=finite_epochs + 1):
        GRU.fit(block, validation, task, fit_recipe, told)
    assert len(told.epochs) == finite_epochs


@both
def test_the_weights_file_and_the_onnx_file_hold_the_same_network(family: Recurrent) -> None:
    task, block, validation = data()
    fit = family.fit(block, validation, task, recipe(family.name), Silent())
    anchor = Anchor.of(fit.chosen["anchor_season"], task)
    weights = load(fit.files["weights.safetensors"])
    assert to_onnx(family.cell, weights, task.input_length, anchor) == fit.files["model.onnx"]


@both
def test_the_seed_decides_the_weights(family: Recurrent) -> None:
    task, block, validation = data()
    first, again, other = (
        family.fit(block, validation, task, recipe(family.name, seed=seed), Silent()).files for seed in (1, 1, 2)
    )
    assert first == again
    assert first["weights.safetensors"] != other["weights.safetensors"]


def test_windows_are_views_of_the_rows_and_batches_equal_those_of_numpy() -> None:
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


def test_a_fit_ignores_rows_that_belong_to_no_window() -> None:
    task, block, validation = data()
    with_gap = replace(block, origins=block.origins[::3])
    unused = np.setdiff1d(np.arange(len(block.targets)), with_gap.origins[:, None] + np.arange(task.horizon))
    targets = block.targets.copy()
    targets[unused] = np.nan
    fit = GRU.fit(replace(with_gap, targets=targets), validation, task, recipe("gru"), Silent())
    assert fit.files == GRU.fit(with_gap, validation, task, recipe("gru"), Silent()).files


def own(family: Recurrent, layers: int = 2) -> tuple[Any, ForecastTask]:
    """A network as ONNX, and its task."""
    import onnx

    task = replace(task_on(hourly(60), ("load", "wind"), seasons=()), input_length=7, horizon=2)
    layered = network(family.cell, layers, features=5, hidden=6, outputs=4)
    weights = {name: tensor.numpy() for name, tensor in layered.state_dict().items()}
    return onnx.ModelProto.FromString(to_onnx(family.cell, weights, 7, Anchor.of(2, task))), task


@pytest.mark.parametrize("layers", [1, 2, 3])
@both
def test_the_checked_graph_is_the_written_one(family: Recurrent, layers: int) -> None:
    model, task = own(family, layers)
    written = model.SerializeToString(deterministic=True)
    assert own_graph(family.cell, written, task) == written


def loop(model: Any) -> None:
    from onnx import TensorProto, helper

    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def one_more(model: Any) -> None:
    from onnx import helper

    model.graph.node.append(helper.make_node("Add", ["forecast", "forecast"], ["more"]))


def function(model: Any) -> None:
    from onnx import helper

    model.functions.append(helper.make_function("d", "f", [], [], [], [helper.make_opsetid("", 17)]))


def external(model: Any) -> None:
    from onnx import TensorProto

    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def broadcast(model: Any) -> None:
    from onnx import numpy_helper

    factor = next(tensor for tensor in model.graph.initializer if tensor.name == "anchor_factor")
    factor.CopyFrom(numpy_helper.from_array(np.ones((1000, 1, 1000, 1), np.float32), "anchor_factor"))


def other_domain(model: Any) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


def another_name(model: Any) -> None:
    model.graph.node[1].domain = "com.microsoft"


def twice(model: Any) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def other_attribute(model: Any) -> None:
    model.graph.node[-2].attribute.add(name="axis", i=2, type=2)


UNUSUAL = (loop, one_more, function, external, broadcast, other_domain, another_name, twice, other_attribute)


@pytest.mark.parametrize("change", UNUSUAL, ids=lambda change: change.__name__)
@both
def test_a_graph_that_flts_does_not_write_is_refused_before_the_runtime_sees_it(
    family: Recurrent, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    model, task = own(family)
    change(model)
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    with raises(DamagedObject, code="graph-unusual"):
        family.load({"model.onnx": model.SerializeToString()}, task)


@pytest.mark.parametrize("data", [b"", b"\x0a" * 100, b"PK\x03\x04", b"\x3a\x02" * 50_000])
def test_bytes_that_are_no_graph_are_refused(data: bytes) -> None:
    with raises(DamagedObject, code="graph-unusual"):
        own_graph("GRU", data, own(GRU)[1])


def test_the_runtime_gets_no_field_that_was_not_checked() -> None:
    model, task = own(GRU)
    written = model.SerializeToString(deterministic=True)
    hidden = b"\xfa\xff\xff\x7f\x03abc"  # a field of a number that no version of the format has yet
    assert own_graph("GRU", written + hidden, task) == written
