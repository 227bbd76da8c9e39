"""Who trips nothing, and who trips at once: the allow and deny lists of the sets in force."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Generic, TypeVar

from pointstream.contracts.detectors import Entity, Listed
from pointstream.contracts.wire import epoch_ms
from pointstream.fraud.networks import address_of

__all__ = ["Lists"]

L = TypeVar("L", bound=Listed)


class Lists(Generic[L]):
    """Entities on lists, each until a time."""

    def __init__(self, listed: Iterable[L]) -> None:
        """Of an entity that is listed twice, the longer time counts."""
        self._single: Final[dict[tuple[Entity, str], tuple[int | None, L]]] = {}
        self._networks: Final[list[tuple[IPv4Network | IPv6Network, int | None, L]]] = []
        for each in listed:
            until_ms = None if each.until is None else epoch_ms(each.until)
            if each.entity is Entity.IP and "/" in each.id:
                self._networks.append((ip_network(each.id, strict=False), until_ms, each))
                continue
            name = _written(each.entity, each.id)
            known = self._single.get((each.entity, name))
            if known is None or (
                known[0] is not None and (until_ms is None or until_ms > known[0])
            ):
                self._single[each.entity, name] = (until_ms, each)
        self.empty: Final = not self._single and not self._networks
        self._addresses: Final = bool(self._networks) or any(
            entity is Entity.IP for entity, _ in self._single
        )

    def of(self, entity: Entity, id: str | None, at_ms: int) -> L | None:
        """Return what lists an entity at a moment, or None. No id is on no list."""
        if self.empty or id is None:
            return None
        if entity is Entity.IP:
            if not self._addresses:
                return None
            id = _written(entity, id)
        found = self._single.get((entity, id))
        if found is not None and _holds(found[0], at_ms):
            return found[1]
        if entity is Entity.IP and self._networks:
            return self._by_network(id, at_ms)
        return None

    def _by_network(self, address: str, at_ms: int) -> L | None:
        try:
            ip = ip_address(address)
        except ValueError:
            return None  # `ip` is any text that a publisher gives
        for network, until_ms, listed in self._networks:
            if ip in network and _holds(until_ms, at_ms):
                return listed
        return None


def _written(entity: Entity, id: str) -> str:
    """Return an id as it is compared: an address can be written in several ways."""
    address = address_of(id) if entity is Entity.IP else None
    return id if address is None else address.ip


def _holds(until_ms: int | None, at_ms: int) -> bool:
    return until_ms is None or at_ms < until_ms
