"""An address counts with its network, however it was written."""

from __future__ import annotations

import pytest

from pointstream.fraud.networks import Address, address_of


@pytest.mark.parametrize(
    ("text", "ip", "network"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        (" 203.0.113.255 ", "203.0.113.255", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("2001:DB8:1:2:3::9", "2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
    ],
)
def test_addresses_are_told_by_what_they_mean(text: str, ip: str, network: str) -> None:
    """Both spellings of one address are one, and so are all addresses of a network."""
    assert address_of(text) == Address(ip, network)


@pytest.mark.parametrize("text", ["", "unknown", "203.0.113", "203.0.113.7/24", "10.0.0.256"])
def test_what_is_no_address_has_no_network(text: str) -> None:
    """Two accounts of which nobody knows the address have none in common."""
    assert address_of(text) is None
