"""A champion as a notebook shows it: what it is, the scoreboard that chose it, and a forecast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.drawing.cell import cell
from flts.drawing.figure import Picture, named, short
from flts.forecasting.bundle import Bundle
from flts.preprocess.rows import Rows
from flts.promotion.leaderboard import as_html, leaderboard
from flts.promotion.log import decision_of
from flts.serve.answer import answer_rows
from flts.serve.picture import SHOWN_LEVELS, drawn


def shown(entry: LogEntry, bundle: Bundle, store: Store | None) -> str:
    """The HTML. store: that of the decision; None leaves the scoreboard out."""
    manifest, grid = bundle.manifest, bundle.model.task.fitted.grid
    needed = ", ".join(bundle.needed) or "no other column"
    sentences = [
        f"promotion {entry.number} ({entry.kind}) by {entry.actor}, {entry.time[:19].replace('T', ' ')} UTC",
        f"{manifest.horizon} steps of {grid} ahead from {manifest.input_length} rows; needs {manifest.time_column} and"
        f" {needed}",
    ]
    table = ""
    try:
        if store is not None:
            table = as_html(leaderboard(decision_of(store, entry)), entry.champion.model)
    except DamagedObject as error:
        sentences.append(str(error))
    heading = f"{entry.champion.model} is champion of '{entry.scope}', for {named(manifest.targets)}"
    return cell(heading, sentences, table, lambda: _of_self_test(bundle))


def _of_self_test(bundle: Bundle) -> Picture:
    """The forecast from the end of train, which every self-test makes again."""
    stored = bundle.manifest.self_test
    fitted, horizon = bundle.model.task.fitted, bundle.model.task.horizon
    rows = Rows(np.array(stored.times), np.array(stored.values, dtype=float), fitted.names)
    if stored.ahead is not None:
        values = np.full((horizon, len(fitted.names)), np.nan)
        values[:, bundle.known.index(fitted)] = np.array(stored.ahead, dtype=float)
        rows = replace(rows, ahead=Rows(fitted.grid.after(rows.times[-1:], horizon)[0], values, fitted.names))
    target = bundle.manifest.targets[0]
    return drawn(bundle, answer_rows(bundle, rows, SHOWN_LEVELS, None), title=f"{short(target)}: from the end of train")
