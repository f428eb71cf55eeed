"""A GET request over a real connection."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen


def ask(address: str, path: str) -> tuple[int, str]:
    """Status and body. address: host:port."""
    try:
        with urlopen(f"http://{address}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
