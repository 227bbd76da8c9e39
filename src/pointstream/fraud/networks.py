"""Networks of addresses: what many accounts behind one landlord, school or script have in common.

An address counts with its IPv4 network of 24 bits or its IPv6 network of 64 bits (RFC 4291, 2.5.4:
the part that one site has). An IPv4 address written as IPv6 (`::ffff:203.0.113.7`) is the IPv4 one.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

__all__ = ["Address", "address_of"]


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it is counted, however it was written."""

    ip: str
    network: str
    """`203.0.113.0/24` or `2001:db8:1:2::/64`."""


def address_of(text: str) -> Address | None:
    """Return the address that a text means; None where it means none.

    What is no address (`unknown`) is nothing that two accounts could have in common.
    """
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.scope_id is not None:
            # The interface of one machine, not part of the address (RFC 4007).
            address = IPv6Address(int(address))
    ip = str(address)
    if isinstance(address, IPv6Address):
        return Address(ip, f"{IPv6Address(int(address) >> 64 << 64)}/64")
    return Address(ip, f"{ip.rpartition('.')[0]}.0/24")
