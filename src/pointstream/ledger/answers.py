"""The answers to commands."""

from __future__ import annotations

from pointstream.contracts.inputs import CommandEnvelope
from pointstream.contracts.vocabulary import CommandOutcome, Reason
from pointstream.ledger.decision import Answer, Decision, Outcome
from pointstream.ledger.records import Account

__all__ = ["MAIN_WALLET", "accepted", "rejected", "rejection", "wallet_of"]

MAIN_WALLET = "points"
"""What a command means that names no wallet."""


def accepted(
    account: Account, event: CommandEnvelope, outcome: Outcome, wallet: str = MAIN_WALLET
) -> Decision:
    """Return the decision about a command that was carried out."""
    return Decision(outcome, result=_answer(account, event, wallet, CommandOutcome.ACCEPTED))


def rejected(
    account: Account, event: CommandEnvelope, reason: Reason, wallet: str = MAIN_WALLET
) -> Decision:
    """Return the decision about a command that would have broken a rule."""
    return Decision(Outcome(reason.value), result=rejection(account, event, reason, wallet))


def rejection(
    account: Account, event: CommandEnvelope, reason: Reason, wallet: str = MAIN_WALLET
) -> Answer:
    """Return the answer to a command that would have broken a rule."""
    answer = _answer(account, event, wallet, CommandOutcome.REJECTED)
    answer["reason"] = reason.value
    return answer


def wallet_of(event: CommandEnvelope) -> str:
    """Return the wallet that a command means."""
    wallet: str | None = getattr(event, "wallet", None)
    return wallet or MAIN_WALLET


def _answer(
    account: Account, event: CommandEnvelope, wallet: str, outcome: CommandOutcome
) -> Answer:
    totals = account.wallets.get(wallet)
    return {
        "command_id": event.event_id,
        "type": event.type,  # type: ignore[attr-defined]  # every command has its own literal
        "member_id": event.member_id,
        "outcome": outcome.value,
        "seq": account.seq,
        "available_after": totals.available if totals is not None else 0,
    }
