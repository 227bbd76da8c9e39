"""The answers to commands."""

from __future__ import annotations

from pointstream.contracts.inputs import CommandEnvelope
from pointstream.contracts.vocabulary import CommandOutcome, Reason
from pointstream.ledger.decision import Answer, Decision, Outcome
from pointstream.ledger.records import Account

__all__ = ["MAIN_WALLET", "accepted", "answer_of", "rejected", "rejection", "wallet_of"]

MAIN_WALLET = "points"
"""What a command means that names no wallet."""


def accepted(
    account: Account, event: CommandEnvelope, outcome: Outcome, wallet: str = MAIN_WALLET
) -> Decision:
    """Return the decision about a command that was carried out."""
    type_: str = event.type  # type: ignore[attr-defined]  # every command has its own literal
    return Decision(outcome, result=answer_of(account, event.event_id, type_, wallet, None))


def rejected(
    account: Account, event: CommandEnvelope, reason: Reason, wallet: str = MAIN_WALLET
) -> Decision:
    """Return the decision about a command that would have broken a rule."""
    return Decision(Outcome(reason.value), result=rejection(account, event, reason, wallet))


def rejection(
    account: Account, event: CommandEnvelope, reason: Reason, wallet: str = MAIN_WALLET
) -> Answer:
    """Return the answer to a command that would have broken a rule."""
    type_: str = event.type  # type: ignore[attr-defined]  # every command has its own literal
    return answer_of(account, event.event_id, type_, wallet, reason)


def wallet_of(event: CommandEnvelope) -> str:
    """Return the wallet that a command means."""
    wallet: str | None = getattr(event, "wallet", None)
    return wallet or MAIN_WALLET


def answer_of(
    account: Account, command_id: str, type: str, wallet: str, reason: Reason | None
) -> Answer:
    """Return the answer to a command; it is a rejection if there is a reason for one."""
    totals = account.wallets.get(wallet)
    outcome = CommandOutcome.ACCEPTED if reason is None else CommandOutcome.REJECTED
    answer: Answer = {
        "command_id": command_id,
        "type": type,
        "member_id": account.member_id,
        "outcome": outcome.value,
        "seq": account.seq,
        "available_after": totals.available if totals is not None else 0,
    }
    if reason is not None:
        answer["reason"] = reason.value
    return answer
