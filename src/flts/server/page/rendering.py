"""Templates, the files beside them, and the headers that keep everything else out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from flts.contracts.canonical import sha256
from flts.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Asset:
    """A file that the page needs. version: changes with its bytes."""

    data: bytes
    media_type: str
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file of `static/` by its name."""
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        suffix = f".{file.name.rpartition('.')[2]}"
        data = file.read_bytes()
        found[file.name] = Asset(data, TYPES[suffix], sha256(data)[:12])
    return found


@cache
def environment() -> Environment:
    """The templates. Every value is escaped; a name that a template misspells is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.globals.update(static=_static, flts_version=__version__)
    return templates


def page(template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """A page that shows these values."""
    return HTMLResponse(environment().get_template(template).render(values), status, HEADERS)


def _static(name: str) -> str:
    """The address of a file, which changes with its bytes."""
    return f"/static/{name}?v={assets()[name].version}"
