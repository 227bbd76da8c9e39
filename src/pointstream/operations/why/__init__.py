"""Why an event earned what it did.

The event is looked for on the input topics, its partition is taken again from the beginning up to
it, in the order that the journal tells, by the production job on a throw-away state, and the event
itself is scored with a trace. So it is explained by the versions in force for it, as its partition
knew them then, whatever has become of the rules since. What comes out is held against the ledger.

Nothing is written to Kafka, and no consumer group is used.
"""

from __future__ import annotations

from pointstream.operations.why.arithmetic import arithmetic, cap_named, period_named
from pointstream.operations.why.explaining import EventTaken, Explanation, RuleTold, explain_event
from pointstream.operations.why.finding import EventNotFound, Wanted
from pointstream.operations.why.replaying import MakeJob, NotTaken

__all__ = [
    "EventNotFound",
    "EventTaken",
    "Explanation",
    "MakeJob",
    "NotTaken",
    "RuleTold",
    "Wanted",
    "arithmetic",
    "cap_named",
    "explain_event",
    "period_named",
]
