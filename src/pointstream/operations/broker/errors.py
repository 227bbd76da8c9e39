"""What can go wrong with a broker of our own.

BrokerError
├── BrokerUnavailableError   nothing on this machine can run a broker; the text says what to install
├── BrokerStartError         it was started and did not come up; the text carries the end of its log
└── BrokerControlError       the order does not fit this kind of broker, or the node's condition
"""

from __future__ import annotations

__all__ = ["BrokerControlError", "BrokerError", "BrokerStartError", "BrokerUnavailableError"]


class BrokerError(Exception):
    """Any trouble with the broker that is not the client's own."""


class BrokerUnavailableError(BrokerError):
    """No broker can be run here; the message says what to install or set."""


class BrokerStartError(BrokerError):
    """The broker was started but did not become ready; the message ends with its log's end."""


class BrokerControlError(BrokerError):
    """The order cannot be carried out: unknown node, wrong condition, or not ours to control."""
