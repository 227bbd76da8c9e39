"""The streaming shell: exactly-once, keyed, stateful processing on Faust and Kafka.

Here live the partition task and its transaction, the state store and its restore, the
Faust transport that feeds a task, ticks, and `EngineTestDriver`, which runs the same task
without a broker. Nothing in here may know what a point is: the engine takes records,
hands them to a `Processor` with a `State` and an `Output`, and makes the result true
exactly once. It would serve any other keyed job the same way. `README.md` tells the
protocol and what each step guards against.
"""

from pointstream.engine.errors import (
    CorruptStore,
    EngineError,
    Fenced,
    HandsOff,
    PositionGap,
    PositionMismatch,
    RecordsDeleted,
    StateBarred,
    StateLost,
    StateTooNew,
    StoreUnavailable,
)
from pointstream.engine.records import Header, InputRecord, Output, Processor, Record
from pointstream.engine.state import State

__all__ = [
    "CorruptStore",
    "EngineError",
    "Fenced",
    "HandsOff",
    "Header",
    "InputRecord",
    "Output",
    "PositionGap",
    "PositionMismatch",
    "Processor",
    "Record",
    "RecordsDeleted",
    "State",
    "StateBarred",
    "StateLost",
    "StateTooNew",
    "StoreUnavailable",
]
