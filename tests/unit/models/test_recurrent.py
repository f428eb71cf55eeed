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
from flts.models.base import Block, Floats, ForecastTask, Indices, Window
from flts.models.recurrent import CLIP, GRU, LSTM, UPDATES, Recurrent, _Adam, _Network, _squares, _Windows
from flts.models.recurrent_graph import to_onnx
from flts.models.recurrent_sight import STEPS, Sight
from flts.preprocess.known import Known
from flts.preprocess.rows import Rows, Values
from flts.preprocess.transform import calendar

pytestmark = pytest.mark.skipif(not has_libraries("gru"), reason="needs the extra 'torch'")

if TYPE_CHECKING:
    pass


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    use_one_thread(FAMILIES["gru"])


KNOWN = ("wind", "load")
both = pytest.mark.parametrize("family", [GRU, LSTM], ids=lambda family: family.name)


class Told(Silent):
    """Remembers the losses of every epoch."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, int, float, float]] = []

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self.epochs.append((done, of, train_loss, val_loss))


def network(cell: str, layers: int, task: ForecastTask, hidden: int = 6) -> _Network:
    """A network with large random weights, so that every gate moves."""
    import torch

    torch.manual_seed(layers)
    parameters = recipe(cell.lower(), hidden_size=hidden, num_layers=layers).parameters
    made = _Network(cell, Sight.of(task), parameters, torch.full((task.targets,), 0.01))
    with torch.no_grad():
        for parameter in made.layers.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return made


def arrays(of: _Network) -> dict[str, Floats]:
    return {name: tensor.numpy() for name, tensor in of.weights().items()}


def window_of(features: Floats, task: ForecastTask, ahead: Values | None = None) -> Window:
    """A window with these features and with this of what is known ahead."""
    empty = np.zeros((*features.shape[:2], 1))
    window = Window(np.zeros(features.shape[:2], np.int64), empty, empty == 0.0, task.fitted)
    window.__dict__["features"], window.__dict__["ahead"] = features, ahead
    return window


@pytest.mark.parametrize(
    ("layers", "batch", "length", "known", "preprocess"),
    [
        (1, 1, 7, KNOWN[:0], {}),
        (2, 5, 7, KNOWN[:0], {"lags": [1, 3]}),
        (3, 5, 7, KNOWN[:0], {"time_features": False}),
        (1, 5, 2 * STEPS + 1, KNOWN[:0], {}),
        (1, 5, 7, KNOWN, {}),
        (2, 1, 7, KNOWN[:1], {"time_features": False}),
    ],
    ids=["one layer", "two and lags", "three, no calendar", "in patches", "known ahead", "one known, no calendar"],
)
@both
def test_the_onnx_file_forecasts_as_torch_does(
    family: Recurrent, layers: int, batch: int, length: int, known: tuple[str, ...], preprocess: Any
) -> None:
    import torch

    task = task_on(hourly(60), ("load", "wind"), seasons=(), input_length=length, horizon=2, **preprocess)
    task = replace(task, known=Known(known))
    made = network(family.cell, layers, task)
    predictor = family.load({"model.onnx": to_onnx(family.cell, arrays(made), Sight.of(task))}, task)
    shape = (batch, length, len(task.fitted.features))
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    window = window_of(features, task, np.random.default_rng(1).normal(size=(batch, 2, len(known))))
    seen = [np.concatenate(Sight.of(task).values(features), axis=2)]
    if known:
        seen.append(np.concatenate([window.ahead, calendar(window.future(2), task.fitted)], axis=2, dtype=np.float32))
    with torch.inference_mode():
        expected = made(*map(torch.from_numpy, seen)).numpy().reshape(batch, 2, 2)
    answers = predictor.predict(window)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(answers / scale, expected / scale, atol=1e-5)


def test_a_level_that_train_has_not_seen_moves_the_forecast_by_as_much() -> None:
    task, block, validation = data()
    fit = GRU.fit(block, validation, task, recipe("gru", epochs=4, learning_rate=0.02), Silent())
    predictor, (features, _) = GRU.load(fit.files, task), validation.windows(task)
    moved = features.copy()
    moved[..., task.fitted.target_index] += 5.0 / Sight.of(task).factor.astype(np.float32)
    before, after = (predictor.predict(window_of(seen, task)) for seen in (features, moved))
    np.testing.assert_allclose(after - before, 5.0, atol=1e-4)


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
    fit_recipe = recipe(family.name, epochs=30, learning_rate=0.1, hidden_size=8, patience=30)
    fit = family.fit(block, validation, task, fit_recipe, told)
    val_losses = [fit.chosen["untrained_mse"], *(loss for _, loss in fit.curve)]
    assert fit.chosen["anchor_season"] == 1
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


@both
def test_the_refitted_network_is_trained_on_all_windows_for_as_many_epochs_as_were_best(family: Recurrent) -> None:
    task, block, validation = data()
    fit_recipe = recipe(family.name, epochs=6, learning_rate=0.02)
    chosen = {"best_epoch": 2, "anchor_season": 1}
    refitted = family.refit(block, task, fit_recipe, chosen)
    assert refitted == family.refit(block, task, fit_recipe, chosen)
    assert refitted != family.refit(block, task, fit_recipe, {**chosen, "best_epoch": 3})
    whole = replace(validation, origins=np.concatenate([block.origins, validation.origins]))
    assert refitted != family.refit(whole, task, fit_recipe, chosen)
    fit = family.fit(block, validation, task, fit_recipe, Silent())
    assert fit.files == family.refit(block, task, fit_recipe, fit.chosen)


def test_without_a_number_of_epochs_a_fit_makes_enough_updates_in_ten_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    task, block, validation = data()
    shares: list[float] = []
    monkeypatch.setattr(_Adam, "step", lambda self, share: shares.append(share))
    updates = []
    for epochs in (0, 10):
        counted = recipe("gru", epochs=epochs, hidden_size=1, batch_size=64, patience=99)
        assert len(GRU.fit(block, validation, task, counted, Silent()).curve) == 10
        assert shares == sorted(shares, reverse=True)
        assert shares[0] == 1.0
        assert 0.0 < shares[-1] < 0.05
        updates.append(len(shares))
        shares.clear()
    batches = -(-len(block.origins) // 64)
    assert updates[1] == 10 * batches < UPDATES <= updates[0] < UPDATES + 10 * batches


@pytest.mark.parametrize("patience", [1, 2, 4])
@both
def test_a_fit_stops_after_patience_epochs_without_improvement(family: Recurrent, patience: int) -> None:
    task, block, validation = data()
    fit_recipe = recipe(family.name, epochs=60, learning_rate=0.05, hidden_size=8, patience=patience)
    fit = family.fit(block, validation, task, fit_recipe, Silent())
    val_losses = [fit.chosen["untrained_mse"], *(loss for _, loss in fit.curve)]
    assert len(val_losses) < 61, "it ran to the end, so this test proves nothing"
    waited, least = [0], val_losses[0]
    for loss in val_losses[1:]:  # an epoch must be better by 0.5 % than the last one that was
        better = loss < 0.995 * least
        waited.append(0 if better else waited[-1] + 1)
        least = loss if better else least
    assert waited[-1] == patience == max(waited)
    assert waited.count(patience) == 1
    assert fit.chosen["best_epoch"] == int(np.argmin(val_losses))


@both
def test_the_untrained_network_is_kept_where_no_epoch_is_better(family: Recurrent) -> None:
    task, block, validation = data()
    noise = np.random.default_rng(0).normal(size=block.targets.shape)  # nothing to learn
    fit_recipe = recipe(family.name, epochs=9, learning_rate=0.3, patience=4)
    fit = family.fit(replace(block, targets=5.0 * noise), validation, task, fit_recipe, Silent())
    assert (fit.chosen["best_epoch"], fit.chosen["epochs"], len(fit.curve)) == (0, 4, 4)
    assert min(loss for _, loss in fit.curve) > fit.chosen["untrained_mse"] == fit.chosen["validation_mse"]
    histories, _ = validation.windows(task)
    assert fit.chosen["anchor_season"] == 1
    answers = family.load(fit.files, task).predict(window_of(histories, task))
    np.testing.assert_allclose(answers, last_values(validation, task), atol=1e-6)


def daily() -> Rows:
    """A wave of 24 hours."""
    rows = hourly(400, columns=("load",))
    wave = 10 * np.sin(2 * np.pi * np.arange(400) / 24) + np.random.default_rng(0).normal(0, 0.1, 400)
    return Rows(rows.times, wave[:, None], rows.columns)


@pytest.mark.parametrize(("input_length", "season"), [(30, 24), (24, 24), (23, 1)])
@pytest.mark.parametrize("constant", [0.0, 3.0])
@both
def test_an_untrained_network_forecasts_as_the_better_baseline_whatever_its_seed(
    family: Recurrent, constant: float, input_length: int, season: int
) -> None:
    task = task_on(daily(), input_length=input_length, horizon=6, seasons=(24, 168), constant=constant)
    block, validation = blocks(daily(), task)
    answers = validation.targets[validation.origins[:, None] - season + np.arange(6) % season]
    for seed in (1, 2):
        one_tiny_step = recipe(family.name, epochs=1, learning_rate=1e-12, seed=seed)
        fit = family.fit(block, validation, task, one_tiny_step, Silent())
        assert fit.chosen["anchor_season"] == season
        window = window_of(validation.windows(task)[0], task)
        np.testing.assert_allclose(family.load(fit.files, task).predict(window), answers, atol=1e-5)


def with_holes(block: Block, share: float = 0.3) -> Block:
    """The block with this share of its target cells empty."""
    holes = np.random.default_rng(1).random(block.targets.shape) < share
    return replace(block, targets=np.where(holes, np.nan, block.targets))


def last_values(block: Block, task: ForecastTask) -> Values:
    """What the last value of every window forecasts."""
    values = Sight.of(task).values(block.features)[0][block.origins - 1, : task.targets]
    return np.repeat(values[:, None], task.horizon, axis=1)


@both
def test_losses_are_means_over_the_measured_cells(family: Recurrent) -> None:
    task, block, validation = data(targets=("load", "wind"))
    block, validation = with_holes(block), with_holes(validation)
    still = recipe(family.name, epochs=1, learning_rate=1e-12, batch_size=7)
    fit = family.fit(block, validation, task, still, Silent())
    assert fit.chosen["anchor_season"] == 1
    losses = [float(np.nanmean((last_values(part, task) - part.answers(task)) ** 2)) for part in (block, validation)]
    assert fit.curve[0] == pytest.approx(losses, rel=1e-5)
    assert fit.chosen["untrained_mse"] == pytest.approx(losses[1], rel=1e-5)


def test_the_gradient_comes_from_the_measured_cells_alone() -> None:
    import torch

    task, block, _ = data(targets=("load", "wind"))
    block = with_holes(block)
    (rows,), answers = _Windows(block, task, Sight.of(task)).batch(torch.arange(20))
    made = network("GRU", 1, task)
    gradients = []
    for masked in (True, False):
        made.layers.zero_grad()
        if masked:
            squares, measured = _squares(made, [rows], answers)
            (squares / measured).backward()
        else:
            where = ~answers.isnan()
            torch.nn.functional.mse_loss(made(rows)[where], answers[where]).backward()
        parts = [p.grad.reshape(-1) for p in made.layers.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert gradients[1].norm() > 0.01
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


@both
def test_a_batch_without_a_measured_cell_is_skipped(family: Recurrent) -> None:
    task, block, validation = data()
    targets = block.targets.copy()
    targets[40:60] = np.nan
    fit_recipe = recipe(family.name, epochs=2, batch_size=1)
    fit = family.fit(replace(block, targets=targets), validation, task, fit_recipe, Silent())
    assert np.isfinite(fit.curve).all()
    assert all(np.isfinite(weights).all() for weights in load(fit.files["weights.safetensors"]).values())


@pytest.mark.parametrize(("learning_rate", "finite_epochs"), [(1e30, 0), (1.5e18, 1)])
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
    weights = load(fit.files["weights.safetensors"])
    assert to_onnx(family.cell, weights, Sight.of(task)) == fit.files["model.onnx"]


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

    task, block, _ = data(lags=[2])
    windows = _Windows(block, task, Sight.of(task))
    columns = 2 + len(task.fitted.calendar)
    assert windows._histories.untyped_storage().nbytes() == 4 * columns * len(block.features)
    (rows,), answers = windows.batch(torch.tensor([3, 0, 7]))
    origins: Indices = block.origins[[3, 0, 7]]
    at = origins[:, None] + np.arange(-task.input_length, 0)
    np.testing.assert_allclose(rows[..., 0], block.targets[at][..., 0], atol=1e-6)
    np.testing.assert_allclose(rows[..., 1], block.targets[at - 2][..., 0], atol=1e-6)
    np.testing.assert_array_equal(rows[..., 2:], block.features[at][..., -len(task.fitted.calendar) :])
    truth = replace(block, origins=origins).answers(task)
    np.testing.assert_array_equal(answers.numpy(), truth.reshape(3, -1).astype(np.float32))


def test_what_is_known_ahead_is_that_of_the_rows_of_the_horizon_with_their_calendar() -> None:
    import torch

    task = replace(task_on(hourly(160), input_length=6, horizon=2), known=Known(("wind",)))
    block, _ = blocks(hourly(160), task)
    (_, ahead), _ = _Windows(block, task, Sight.of(task)).batch(torch.tensor([3, 0, 7]))
    chosen = replace(block, origins=block.origins[[3, 0, 7]])
    future = task.fitted.grid.after(block.times[chosen.origins - 1], 2)
    expected = np.concatenate([chosen.ahead(task), calendar(future, task.fitted)], axis=2, dtype=np.float32)
    np.testing.assert_array_equal(ahead.numpy(), expected)


def test_a_fit_ignores_rows_that_belong_to_no_window() -> None:
    task, block, validation = data()
    with_gap = replace(block, origins=block.origins[::3])
    unused = np.setdiff1d(np.arange(len(block.targets)), with_gap.origins[:, None] + np.arange(task.horizon))
    targets = block.targets.copy()
    targets[unused] = np.nan
    fit = GRU.fit(replace(with_gap, targets=targets), validation, task, recipe("gru"), Silent())
    assert fit.files == GRU.fit(with_gap, validation, task, recipe("gru"), Silent()).files


def own(family: Recurrent, layers: int = 2, known: tuple[str, ...] = ()) -> tuple[Any, ForecastTask]:
    """A network as ONNX, and its task."""
    import onnx

    task = task_on(hourly(60), ("load", "wind"), seasons=(), input_length=7, horizon=2)
    task = replace(task, known=Known(known))
    data = to_onnx(family.cell, arrays(network(family.cell, layers, task)), Sight.of(task))
    return onnx.ModelProto.FromString(data), task


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("known", [(), KNOWN])
@both
def test_the_checked_graph_is_the_written_one(family: Recurrent, layers: int, known: tuple[str, ...]) -> None:
    model, task = own(family, layers, known)
    written = model.SerializeToString(deterministic=True)
    assert family.graph(written, task)[0] == written


@pytest.mark.parametrize("known", [(), KNOWN[:1], KNOWN])
def test_a_graph_for_other_columns_that_are_known_ahead_is_refused(known: tuple[str, ...]) -> None:
    model, task = own(GRU, known=known)
    for other in {(), KNOWN[:1], KNOWN} - {known}:
        with raises(DamagedObject, code="graph-unusual"):
            GRU.graph(model.SerializeToString(), replace(task, known=Known(other)))


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

    factor = next(tensor for tensor in model.graph.initializer if tensor.name == "value_factor")
    factor.CopyFrom(numpy_helper.from_array(np.ones((1000, 1, 1000, 1), np.float32), "value_factor"))


def other_domain(model: Any) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


def another_name(model: Any) -> None:
    model.graph.node[1].domain = "com.microsoft"


def twice(model: Any) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def other_attribute(model: Any) -> None:
    model.graph.node[-1].attribute.add(name="axis", i=2, type=2)


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
        GRU.graph(data, own(GRU)[1])


def test_the_runtime_gets_no_field_that_was_not_checked() -> None:
    model, task = own(GRU)
    written = model.SerializeToString(deterministic=True)
    hidden = b"\xfa\xff\xff\x7f\x03abc"  # a field of a number that no version of the format has yet
    assert GRU.graph(written + hidden, task)[0] == written
