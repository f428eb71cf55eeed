"""A server listens on the addresses that it is told, of either family."""

from __future__ import annotations

import socket

import pytest

from flts.web.running import listen, url


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_the_url_names_the_address_as_a_browser_takes_it(host: str) -> None:
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        assert url(listening) == (f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_both_families_reach_the_address_for_all(client: str) -> None:
    with listen("::", 0) as listening, socket.create_connection((client, listening.getsockname()[1]), timeout=30):
        pass
