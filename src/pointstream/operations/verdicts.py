"""What can be known of a dead letter's replay before it is sent, without asking a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pointstream.contracts.decoding import Refusal, decode
from pointstream.contracts.envelope import Envelope
from pointstream.contracts.programme import Programme
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import rfc3339
from pointstream.operations.deadletters import Letter, input_of

__all__ = ["PUBLISHED_BY", "Judge", "Verdict"]

#: They are refused by what is remembered, whatever is done to rules and programme.
_FOR_GOOD: Final = frozenset(
    {
        DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
        DeadLetterCode.TOO_OLD,
        DeadLetterCode.ACCOUNT_ERASED,
    }
)

PUBLISHED_BY: Final[Mapping[str, str]] = {
    "rules": "pointstream rules publish",
    "detectors": "pointstream fraud detectors publish",
    "catalogue": "pointstream catalogue publish",
}
"""The inputs of which the brokers keep each key's latest record alone, and what publishes there."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be known of a replay without a worker: that nothing stands against it, or what."""

    refused: str | None = None
    """Why it would be a dead letter again."""
    harmful: str | None = None
    """What could be lost by it, whether it is refused again or not."""
    impossible: str | None = None
    """Why it cannot be sent at all."""

    def left_out(self, *, anyway: bool) -> str | None:
        """Why it is not sent; `anyway` sends what can be sent at all. None: it is sent."""
        if self.impossible is not None:
            return f"cannot be sent: {self.impossible}"
        if anyway:
            return None
        if self.harmful is not None:
            return f"could do harm: {self.harmful}"
        return None if self.refused is None else f"would still be refused: {self.refused}"


class Judge:
    """Says of dead letters whether they would be refused again, or do harm."""

    def __init__(self, prefix: str, programme: Programme, now_ms: int) -> None:
        self._prefix = prefix
        self._currency = programme.currency
        self._latest_ms = now_ms + programme.future_tolerance.total_seconds() * 1000

    def __call__(self, letter: Letter) -> Verdict:
        """Decode it as a worker would, and hold it against what does not depend on the ledger."""
        if letter.source is None:
            return Verdict(impossible="it does not tell which input it is a copy of")
        suffix = input_of(letter.source.topic, self._prefix)
        if suffix is None:
            return Verdict(
                impossible=f"{letter.source.topic} is no input of this programme; if it was one"
                " before, publish it anew (`dlq show --raw`, then `publish`)"
            )
        harmful = None
        if suffix in PUBLISHED_BY:
            # The ledger would pass over an older version, but compaction and backups would not:
            # the version in force would be gone from the topic, and from all that is made of it.
            harmful = (
                f"{self._prefix}{suffix} keeps the latest record of each key alone, and what is"
                f" there may be newer; publish it anew with `{PUBLISHED_BY[suffix]}`"
            )
        return Verdict(refused=self._refused(letter, suffix), harmful=harmful)

    def _refused(self, letter: Letter, suffix: str) -> str | None:
        decoded = decode(suffix, letter.key, letter.value, letter.headers)
        if isinstance(decoded, Refusal):
            return f"{decoded.code}: {decoded.message}"
        if letter.code in _FOR_GOOD:
            return f"{letter.code}: {letter.remedy}"
        event = decoded.event
        currency = getattr(event, "currency", None)
        if currency not in (None, self._currency):
            return (
                f"{DeadLetterCode.CURRENCY_NOT_SUPPORTED}: it is in {currency},"
                f" the programme counts in {self._currency}"
            )
        if isinstance(event, Envelope) and event.occurred_at_ms > self._latest_ms:
            return (
                f"{DeadLetterCode.TOO_FAR_IN_FUTURE}: it is dated {rfc3339(event.occurred_at_ms)}"
            )
        return None
