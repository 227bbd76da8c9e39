"""Ledger entries in words, for people at a service desk.

Pure: an entry of `balance-changes` and, where it is still there, the input that caused it go in;
one line of English comes out. Times are told in the zone that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any

__all__ = ["entry_in_words", "money"]

Fields = Mapping[str, Any]

# Currencies whose minor unit is not a hundredth: ISO 4217.
_DECIMALS = dict.fromkeys(("JPY", "KRW", "VND", "CLP", "ISK", "PYG", "UGX", "XAF", "XOF"), 0)
_DECIMALS |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)

_VERBS = {
    "points.earned": "earned {points}",
    "points.pending": "{points} earned, not to spend yet",
    "points.activated": "{points} can be spent from now on",
    "points.redeemed": "spent {points}",
    "points.held": "reserved {points}",
    "points.captured": "spent {points} that were reserved",
    "points.voided": "{points} no longer reserved",
    "points.expired": "{points} expired",
    "points.reversed": "{points} taken back",
    "points.restored": "{points} given back",
    "points.transferred_out": "gave away {points}",
    "points.transferred_in": "received {points}",
    "points.cleared": "{points} cleared out",
    "points.merged_out": "{points} moved to another account",
    "points.merged_in": "{points} moved here from another account",
}

# Of a merge: what moved, or of which debt somebody took over what.
_MERGED = {
    "points.merged_out": ("{points} moved to {other}", "took over a debt of {points} of {other}"),
    "points.merged_in": ("{points} moved here from {other}", "{other} took over {points} owed"),
}


def money(minor: int, currency: str) -> str:
    """An amount in minor units as people write it: ``12000, "CNY"`` is ``120.00 CNY``."""
    decimals = _DECIMALS.get(currency, 2)
    if decimals == 0:
        return f"{minor} {currency}"
    whole, part = divmod(abs(minor), 10**decimals)
    return f"{'-' if minor < 0 else ''}{whole}.{part:0{decimals}d} {currency}"


def entry_in_words(entry: Fields, cause: Fields | None, zone: tzinfo) -> str:
    """One line: when, what moved, why, and until when it lasts.

    `cause` is the input's body, or None when it is no longer kept: then what it alone knew is left
    out.
    """
    happened = _local(entry["occurred_at"], zone).strftime("%Y-%m-%d %H:%M")
    reasons = [reason for reason in (_cause(entry, cause or {}), _rule(entry)) if reason]
    line = f"{happened} {_movement(entry)}"
    if reasons:
        line += f": {', '.join(reasons)}"
    remarks = _remarks(entry, zone)
    if remarks:
        line += f" ({'; '.join(remarks)})"
    return line


def _movement(entry: Fields) -> str:
    wallet = entry.get("wallet") or "points"
    count = int(entry["amount"])
    unit = "point" if count == 1 else "points"
    points = f"{count} {unit}" if wallet == "points" else f"{count} {wallet} {unit}"
    kind = str(entry["type"])
    if kind == "points.adjusted":
        waits = ", not to spend yet" if not int(entry["delta"]) and entry.get("lots") else ""
        return f"{'credited' if int(entry['delta']) >= 0 else 'debited'} {points} by hand{waits}"
    if kind == "points.transferred_in" and entry.get("reason"):
        return f"got {points} back"
    if kind in _MERGED and entry.get("counterparty_id"):
        by_points, by_debt = _MERGED[kind]
        words = by_debt if entry.get("reason") == "debt" else by_points
        return words.format(points=points, other=entry["counterparty_id"])
    return _VERBS.get(kind, kind.removeprefix("points.").replace("_", " ") + " {points}").format(
        points=points
    )


def _cause(entry: Fields, cause: Fields) -> str:
    kind = str(entry.get("cause_type") or "")
    order = f"order {entry['order_id']}" if entry.get("order_id") else ""
    actor = f"by {entry['actor_id']}" if entry.get("actor_id") else ""
    actor += f" with the consent of {entry['confirmed_by']}" if entry.get("confirmed_by") else ""
    if entry.get("reason") == "tier_bonus":
        # What brought the member there says less than where.
        return f"bonus for the tier {entry.get('rule_id')}"
    if kind == "order.paid":
        words = order + _of_money(cause, "paid_minor", cause.get("currency"))
    elif kind == "order.refunded":
        words = f"refund {cause.get('refund_id', '')}".rstrip()
        # A refund names no currency; its order did, and the chain has one.
        words += f" of {order}" if order else ""
    elif kind == "order.cancelled":
        words = f"{order} cancelled"
    elif kind == "checkin.recorded":
        words = "check-in"
    elif kind == "referral.registered":
        words = f"{cause.get('referee_id', 'someone')} joined on this member's word"
    elif kind == "referral.first_order":
        words = f"first order of {cause.get('referee_id', 'someone')} who was referred"
    elif kind == "activity.recorded":
        words = " ".join(str(cause[name]) for name in ("activity", "reference") if cause.get(name))
        words = words or "activity"
    elif entry.get("type") == "points.expired":
        return ""
    elif kind == "programme.clear_out":
        return f"{entry.get('reason')}, of the whole programme"
    elif kind == "timer.points.voided":
        words = "not used in time"
    elif kind == "fraud.flag":
        return "until a review has decided"
    elif kind.startswith(("points.", "account.", "review.")):
        if kind == "points.transfer":
            actor = _transferred(entry, actor)
        for_what = _for_what(entry, cause, order)
        words = " ".join(part for part in (for_what, actor) if part)
        reason = entry.get("reason") or cause.get("reason")
        if reason and not (kind == "account.merge" and reason == "debt"):
            words = f"{words}, {reason!s}" if words else str(reason)
        return words
    else:
        words = order or kind
    store = entry.get("store_id")
    return f"{words} at store {store}" if words and store else words


def _for_what(entry: Fields, cause: Fields, order: str) -> str:
    # The entry names the item that was redeemed; what only asked for one has a cause that does.
    item = entry.get("item_id") or cause.get("item_id")
    if item is None:
        return f"for {order}" if order else ""
    pieces = int(entry.get("quantity") or cause.get("quantity") or 1)
    words = f"for item {item}" if pieces == 1 else f"for {pieces} of item {item}"
    return f"{words} with {order}" if order else words


def _transferred(entry: Fields, actor: str) -> str:
    """Who is on the other side, and who asked for it where that is neither of them."""
    other, member_id = entry.get("counterparty_id"), entry["member_id"]
    arrived = entry["type"] == "points.transferred_in" and not entry.get("reason")
    side = f"{'from' if arrived else 'to'} {other}" if other else ""
    if entry.get("actor_id") in (other, member_id):
        actor = ""
    return " ".join(part for part in (side, actor) if part)


def _of_money(cause: Fields, name: str, currency: Any) -> str:
    if name in cause and currency:
        return f" of {money(int(cause[name]), str(currency))}"
    return ""


def _rule(entry: Fields) -> str:
    rule = entry.get("rule_id")
    # A reversal or an expiry follows from the order or the calendar, not from the rule it once came
    # by.
    told = entry["type"] in ("points.earned", "points.pending", "points.activated")
    told = told and entry.get("reason") != "tier_bonus"
    return f"rule {rule}" if rule and told else ""


def _remarks(entry: Fields, zone: tzinfo) -> list[str]:
    remarks: list[str] = []
    due, amount = entry.get("due"), int(entry["amount"])
    credited = str(entry["type"]) in ("points.earned", "points.pending")
    if credited and due is not None and int(due) > amount:
        remarks.append(f"the rule gave {due}, the limit left {amount}")
    if entry.get("written_off"):
        remarks.append(f"{entry['written_off']} already spent, written off")
    if entry.get("flag_id"):
        remarks.append(f"flag {entry['flag_id']}")
    if entry.get("debt_after"):
        remarks.append(f"{entry['debt_after']} owed")
    if str(entry["type"]) in (
        "points.earned",
        "points.pending",
        "points.restored",
        "points.transferred_in",
        "points.merged_in",
        "points.adjusted",
    ):
        remarks += _expiries(entry, zone)
    return remarks


def _expiries(entry: Fields, zone: tzinfo) -> list[str]:
    days: list[str] = []
    for lot in entry.get("lots") or ():
        if int(lot.get("delta") or 0) > 0 and lot.get("expires_at"):
            # Points last until just before `expires_at`: of midnight, the day before is the last.
            last = _local(lot["expires_at"], zone) - timedelta(milliseconds=1)
            day = last.strftime("%Y-%m-%d")
            if day not in days:
                days.append(day)
    return [f"expires {' and '.join(days)}"] if days else []


def _local(text: str, zone: tzinfo) -> datetime:
    return datetime.fromisoformat(text).astimezone(zone)
