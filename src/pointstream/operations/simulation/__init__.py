"""What a rule set, or a detector set, would have done to what really happened.

The real inputs are taken again, in the order that the journal tells, by the production job on a
throw-away state: once by the real rules, and from the beginning of the span on (where detectors
look back, from before it) a second time, on a copy of that state, with the candidate in the place
of the set of its id. What comes out by the
real rules is compared with the ledger, byte for byte: only where both are equal is the difference
to the candidate one to what happened.

Nothing is written to Kafka, and no consumer group is used. In memory are some ten thousand records
and the caches of the stores; the states lie in a temporary directory. Counters are kept per rule,
shop, day and tier, not per member; flags, where detectors are tried, with their evidence.
"""

from __future__ import annotations

from pointstream.operations.simulation.flagpage import flag_page
from pointstream.operations.simulation.flags import Flagged, Flags, Overlap
from pointstream.operations.simulation.page import page
from pointstream.operations.simulation.replay import ReplayFailed
from pointstream.operations.simulation.result import Line, Simulation
from pointstream.operations.simulation.run import MakeJob, NothingRecorded, Plan, simulate
from pointstream.operations.simulation.words import (
    NOTHING_AWARDED,
    members_words,
    verdict_words,
    warmed_words,
)

__all__ = [
    "NOTHING_AWARDED",
    "Flagged",
    "Flags",
    "Line",
    "MakeJob",
    "NothingRecorded",
    "Overlap",
    "Plan",
    "ReplayFailed",
    "Simulation",
    "flag_page",
    "members_words",
    "page",
    "simulate",
    "verdict_words",
    "warmed_words",
]
