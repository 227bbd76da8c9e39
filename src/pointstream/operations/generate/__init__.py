"""A seeded, believable stream of a chain of shops, of any size, in constant memory.

Theory of operation. The stream is a row of slots spread over the period as trade is spread over a
day. Each slot emits one event: a follow-up that has come due (a refund of an earlier order,
tomorrow's check-in of a streak, a referee's first order …), else something fresh. Follow-ups wait
in a heap of bounded size; when it is full, the story simply isn't continued. But for who takes part
in fraud, nothing else is remembered: a member is a number, and all that is fixed about one (home
shop, telephones, addresses, who lives in one household, when one is away) is computed from that
number and the day.

Same plan, same bytes: every choice comes from one `random.Random(seed)` and only from its
`random()`, whose sequence Python guarantees, and no clock is read. Ids of events and orders carry a
mark of the plan, so that streams of different plans never reuse each other's ids, while members are
shared by all.

Each event of a fraudster carries a label beside its bytes: what it is part of. The detectors do not
see it; whoever measures them does.

`plan` says what to generate, `story` fills the slots; `members` tells of the honest ones, `fraud`
and `schemes` of the others, all with what is in `events` and `facts`. Nothing here reads a clock or
rolls other dice.
"""

from pointstream.operations.generate.plan import (
    FRAUD_KINDS,
    SUBTLETIES,
    Generated,
    Label,
    StreamPlan,
    member_name,
)
from pointstream.operations.generate.story import generate

__all__ = [
    "FRAUD_KINDS",
    "SUBTLETIES",
    "Generated",
    "Label",
    "StreamPlan",
    "generate",
    "member_name",
]
