"""The headers of a proxy count where it is trusted, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.raising import raises

from flts.contracts.errors import UsageError
from flts.web.proxies import Proxies

TRUSTED = Proxies.of(["10.0.0.0/8", "::1"])


def scope(peer: str, *headers: tuple[str, str], scheme: str = "http") -> dict[str, Any]:
    listed = [(name.encode(), value.encode()) for name, value in headers]
    return {"client": (peer, 1), "scheme": scheme, "headers": [(b"host", b"inside:8000"), *listed]}


PASSED = (("x-forwarded-proto", "https"), ("x-forwarded-host", "flts.example"), ("x-forwarded-for", "6.6.6.6, 5.5.5.5"))


def test_a_trusted_proxy_says_what_the_request_was() -> None:
    passed = scope("10.1.2.3", *PASSED)
    assert TRUSTED.https(passed)
    assert TRUSTED.host(passed) == "flts.example"
    assert TRUSTED.client(passed) == "5.5.5.5", "what stands before it may be invented"


def test_nobody_else_does() -> None:
    for proxies in (Proxies(), TRUSTED):
        passed = scope("11.1.2.3", *PASSED)
        assert not proxies.https(passed)
        assert (proxies.host(passed), proxies.client(passed)) == ("inside:8000", "11.1.2.3")


def test_the_nearest_proxy_has_the_last_word() -> None:
    passed = scope("10.1.2.3", ("x-forwarded-proto", "https"), ("x-forwarded-proto", "http"))
    assert not TRUSTED.https(passed)
    chain = scope("::1", ("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7, 10.9.9.9"))
    assert TRUSTED.client(chain) == "7.7.7.7"
    assert TRUSTED.client(scope("10.0.0.1", ("x-forwarded-for", "10.0.0.2"))) == "10.0.0.2"


def test_tls_of_this_server_needs_no_proxy() -> None:
    assert Proxies().https(scope("11.1.2.3", scheme="https"))


def test_one_household_of_ipv6_is_one_client() -> None:
    assert Proxies().client(scope("2001:db8:1:2:3:4:5:6")) == "2001:db8:1:2::/64"
    assert Proxies().client(scope("somebody")) == "somebody"


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.1/8", "", "10.0.0.0/99"])
def test_what_is_no_network_is_named(wrong: str) -> None:
    with raises(UsageError, code="setting-invalid", setting="trusted_proxies"):
        Proxies.of([wrong])
