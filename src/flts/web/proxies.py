"""What a request was before proxies passed it on: their headers count where they are trusted, and nobody else's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Scope

from flts.contracts.errors import UsageError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Proxies:
    """The proxies that are trusted; none by default."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, trusted: Iterable[str]) -> Proxies:
        """trusted: addresses or networks. Raises UsageError."""
        return cls(tuple(map(_network, trusted)))

    def https(self, scope: Scope) -> bool:
        """Whether the client speaks TLS, with this server or with a proxy before it."""
        if scope["scheme"] == "https":
            return True
        return self._trusts(_peer(scope)) and _last(scope, b"x-forwarded-proto").lower() == "https"

    def host(self, scope: Scope) -> str:
        """The name that the client uses for this server, with its port."""
        named = _last(scope, b"x-forwarded-host") if self._trusts(_peer(scope)) else ""
        return named or _last(scope, b"host")

    def client(self, scope: Scope) -> str:
        """The address of the client: the last one that is no trusted proxy's. Of IPv6, the network of one household."""
        address, before = _peer(scope), _values(scope, b"x-forwarded-for")
        while before and self._trusts(address):
            address = before.pop()
        try:
            if ipaddress.ip_address(address).version == 6:
                return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
        except ValueError:
            pass
        return address[:64]

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.networks)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(
            f"trusted_proxies: '{text[:60]}' is no address and no network such as 10.0.0.0/8",
            code="setting-invalid",
            setting="trusted_proxies",
        ) from None


def _peer(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _values(scope: Scope, name: bytes) -> list[str]:
    """The values of a header that lists them, in every line that has it."""
    joined = b",".join(value for found, value in scope["headers"] if found == name).decode("latin-1")
    return [value.strip() for value in joined.split(",") if value.strip()]


def _last(scope: Scope, name: bytes) -> str:
    """What the nearest proxy wrote."""
    return next(reversed(_values(scope, name)), "")
