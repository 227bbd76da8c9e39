"""What decoding says when a record does not fit."""

from typing import NamedTuple

from pointstream.contracts.vocabulary import DeadLetterCode

__all__ = ["Refusal", "Refused"]


class Refusal(NamedTuple):
    """Why a record does not fit the contract, for its dead letter."""

    code: DeadLetterCode
    message: str
    """One line for the publisher: where in the record, and what is allowed there."""


class Refused(Exception):
    """Carries a refusal out of a helper of `decode`; never leaves `decode`."""

    def __init__(self, code: DeadLetterCode, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message)
