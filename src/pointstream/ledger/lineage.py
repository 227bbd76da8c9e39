"""What descended from points: where they were sent on, and who earned by a referral of whom.

When a flag is confirmed, points of its evidence are followed to whoever has them now, and what was
earned for having referred a member of it is taken back.

    flagged member                  recipient                       recipient's recipient
    --------------                  ---------                       ---------------------
    sent on? -- lineage.followed --> takes back what of those
                                    lots is there
                                    sent on? -- lineage.followed --> ...
    owes it  <-- lineage.missed --  spent: it is not there

Who received points loses what is left of those very points, nothing else: what is not there any
more falls back on the flagged member, and on the `refund_policy`. A part of a lot is followed once,
over at most `DEPTH` members.

Both sides of a link know each other, for `dedup_window`, as long as evidence is known. When one of
them is erased the other forgets.
"""

from __future__ import annotations

from typing import Any, Final

from pointstream.contracts.wire import dumps
from pointstream.ledger.book import Book
from pointstream.ledger.cause import Cause
from pointstream.ledger.codec import remembered, remembered_body, remembered_until_ms
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account, Lot
from pointstream.ledger.reversing import Reversal
from pointstream.ledger.state import line_key, lines_prefix, prefix_stop

__all__ = [
    "DEPTH",
    "FOLLOWED",
    "FORGOTTEN",
    "MISSED",
    "REFERRED",
    "UNEARNED",
    "follow",
    "forget",
    "line_followed",
    "line_forgotten",
    "line_missed",
    "line_referred",
    "note_received",
    "note_referral",
    "note_refused",
    "note_sent",
    "unearn",
]

DEPTH: Final = 8
"""Over how many members points are followed at most."""

FOLLOWED: Final = "lineage.followed"
MISSED: Final = "lineage.missed"
REFERRED: Final = "lineage.referred"
UNEARNED: Final = "lineage.unearned"
FORGOTTEN: Final = "lineage.forgotten"

_WALLET: Final = "points"
"""The only one that is sent from."""
_OUT: Final = "out"
_IN: Final = "in"
_REFERRER: Final = "referrer"
_REFEREE: Final = "referee"


# --- transfers ----------------------------------------------------------------------------------


def note_sent(book: Book, account: Account, transfer_id: str, to: str, lots: list[Lot]) -> None:
    """Note which lots a transfer took its points from."""
    rows = [[lot.lot_id, lot.points, 0] for lot in lots]
    _put(book, account, (_OUT, transfer_id), [to, rows])


def note_received(
    book: Book, account: Account, transfer_id: str, sender: str, name: str, lots: int
) -> None:
    """Note which lots a transfer made."""
    _put(book, account, (_IN, transfer_id), [sender, name, lots])


def note_refused(book: Book, account: Account, transfer_id: str, cause: Cause) -> None:
    """Forget a transfer that came back; what was followed meanwhile is taken back here."""
    line = _line(book, account, _OUT, transfer_id)
    if line is None:
        return
    book.state.delete(line_key(account.member, _OUT, transfer_id))
    for lot_id, _, followed in line[1]:
        for flag_id, points in followed.items() if followed else ():
            reversal = Reversal(book, account, _WALLET)
            there, _ = reversal.lot(lot_id, points)
            reversal.claw_back(points - there)
            reversal.tell(flag_id, cause)


def follow(
    book: Book,
    account: Account,
    lot_id: str,
    wanted: int,
    flag_id: str,
    cause: Cause,
    root: str,
    depth: int = 1,
) -> int:
    """Follow points of a lot to the members they were sent to; return how many."""
    left = wanted
    if depth > DEPTH:
        return 0
    prefix = lines_prefix(account.member, _OUT)
    for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
        if not left:
            break
        if remembered_until_ms(value) <= book.now_ms:
            continue
        to, rows = remembered_body(value)
        for number, row in enumerate(rows, start=1):
            part = min(left, row[1])
            if row[0] != lot_id or not part:
                continue
            left -= part
            row[1] -= part
            row[2] = {**(row[2] or {}), flag_id: (row[2] or {}).get(flag_id, 0) + part}
            book.state.put(key, remembered(remembered_until_ms(value), dumps([to, rows])))
            body = {
                "transfer_id": key[len(prefix) :].decode(),
                "number": number,
                "points": part,
                "flag_id": flag_id,
                "cause": cause.fields(),
                "root": root,
                "depth": depth,
            }
            book.tell(FOLLOWED, to, body)
    return wanted - left


def line_followed(book: Book, message: Message, source: Source) -> Decision:
    """Take back what is left of points that a transfer brought, and follow the rest."""
    account, body = _addressed(book, message)
    line = None if account.erased else _line(book, account, _IN, body["transfer_id"])
    if line is None:
        # Refused: the sender has them back, and knows. Or all was cleared with the member.
        return Decision(Outcome.NOTHING_DESCENDED)
    _, name, lots = line
    lot_id = name if lots == 1 else f"{name}.{body['number']}"
    flag_id, root = body["flag_id"], body["root"]
    cause = Cause.of_fields(account.member, body["cause"])
    reversal = Reversal(book, account, _WALLET)
    there, _ = reversal.lot(lot_id, body["points"])
    left = body["points"] - there
    left -= follow(book, account, lot_id, left, flag_id, cause, root, body["depth"] + 1)
    reversal.tell(flag_id, cause)
    if left:
        book.tell(MISSED, root, {"points": left, "flag_id": flag_id, "cause": body["cause"]})
    return Decision(Outcome.DESCENT_REVERSED)


def line_missed(book: Book, message: Message, source: Source) -> Decision:
    """Take from the flagged member what those have spent who were sent it."""
    account, body = _addressed(book, message)
    if account.erased:
        return Decision(Outcome.NOTHING_DESCENDED)
    reversal = Reversal(book, account, _WALLET)
    reversal.claw_back(body["points"])
    reversal.tell(body["flag_id"], Cause.of_fields(account.member, body["cause"]))
    return Decision(Outcome.DESCENT_REVERSED)


# --- referrals ----------------------------------------------------------------------------------


def note_referral(book: Book, account: Account, referee_id: str, cause: Cause) -> None:
    """Note whom a referral that earned was about, here and there."""
    assert cause.event_id is not None
    _put(book, account, (_REFEREE, referee_id, cause.event_id), [referee_id])
    book.tell(REFERRED, referee_id, {"referrer": account.member_id, "event_id": cause.event_id})


def line_referred(book: Book, message: Message, source: Source) -> Decision:
    """Note by which referral of this member somebody has earned."""
    account, body = _addressed(book, message)
    if account.erased:
        book.tell(
            FORGOTTEN,
            body["referrer"],
            {"line": [_REFEREE, account.member_id, body["event_id"]]},
        )
        return Decision(Outcome.NOTHING_DESCENDED)
    names = (_REFERRER, body["referrer"], body["event_id"])
    _put(book, account, names, [body["referrer"]])
    return Decision(Outcome.REFERRAL_NOTED)


def unearn(book: Book, account: Account, flag_id: str, cause: Cause) -> None:
    """Have taken back what others earned for having referred this member."""
    prefix = lines_prefix(account.member, _REFERRER)
    for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
        book.state.delete(key)
        if remembered_until_ms(value) > book.now_ms:
            (referrer,) = remembered_body(value)
            event_id = key[len(prefix) :].decode().partition("\0")[2]
            body = {"event_id": event_id, "flag_id": flag_id, "cause": cause.fields()}
            book.tell(UNEARNED, referrer, body)


# --- erasing ------------------------------------------------------------------------------------


def forget(book: Book, member_id: str, rest: bytes, value: bytes) -> None:
    """Have the other side of a link forgotten: this member is erased. `rest` follows it in the
    key."""
    what, *names = rest.decode().split("\0")
    peer = remembered_body(value)[0]
    if what in (_OUT, _IN):
        there = [_IN if what == _OUT else _OUT, *names]
    else:
        there = [_REFEREE if what == _REFERRER else _REFERRER, member_id, names[1]]
    book.tell(FORGOTTEN, peer, {"line": there})


def line_forgotten(book: Book, message: Message, source: Source) -> Decision:
    """Forget a link to a member who was erased."""
    account, body = _addressed(book, message)
    what, *names = body["line"]
    book.state.delete(line_key(account.member, what, *names))
    return Decision(Outcome.LINEAGE_FORGOTTEN)


# --- keys ---------------------------------------------------------------------------------------


def _addressed(book: Book, message: Message) -> tuple[Account, dict[str, Any]]:
    member_id = message.to or ""
    return book.account(member_id, member_id.encode()), message.body


def _put(book: Book, account: Account, names: tuple[str, ...], body: list[Any]) -> None:
    until_ms = book.now_ms + book.programme.dedup_window_ms
    book.memory.put(line_key(account.member, *names), remembered(until_ms, dumps(body)))


def _line(book: Book, account: Account, *names: str) -> list[Any] | None:
    value = book.state.get(line_key(account.member, *names))
    if value is None or remembered_until_ms(value) <= book.now_ms:
        return None
    return remembered_body(value)
