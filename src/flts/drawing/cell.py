"""The output of a notebook cell: a heading, sentences, a table and a picture as one piece of HTML."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from html import escape

from flts.contracts.errors import FltsError, visible
from flts.drawing.figure import Picture


def cell(heading: str, sentences: Iterable[str], table: str, picture: Callable[[], Picture]) -> str:
    """The HTML. table: HTML already; picture: drawn here, so that its absence is a sentence and not an error."""
    parts = [f"<p><b>{escape(visible(heading))}</b></p>", *(f"<p>{escape(visible(text))}</p>" for text in sentences)]
    parts.append(table)
    try:
        drawn = base64.b64encode(picture().png).decode()
        parts.append(f'<img alt="{escape(visible(heading))}" src="data:image/png;base64,{drawn}" width="760">')
    except FltsError as error:  # matplotlib is not installed, or an object of the store is damaged
        parts.append(f"<p>no picture: {escape(visible(str(error)))}</p>")
    return "<div>" + "".join(parts) + "</div>"
