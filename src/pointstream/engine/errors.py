"""What can stop a partition.

::

    EngineError
    ├── Fenced             another worker owns the partition now
    ├── PositionGap        records between the position and the next batch are missing
    ├── PositionMismatch   the group's offsets and the state disagree
    ├── RecordsDeleted     the broker deleted input before it was processed
    ├── StateLost          there are positions, and neither store nor changelog has their state
    ├── StoreUnavailable   the local store cannot be used, and that is not its content's fault
    ├── CorruptStore       local state cannot be read; it is rebuilt from the changelog
    └── HandsOff           no start of this program may take the partition
        ├── StateTooNew        its state is in a format of a newer release
        └── StateBarred        an operation on the whole state has not ended

But for `CorruptStore`, none is handled by going on. The process ends, a supervisor starts it anew,
and the new process begins from what is committed. After a `HandsOff` it does not: the process ends
with the status of what a new start does not mend.
"""

from typing import Final

__all__ = [
    "CorruptStore",
    "EngineError",
    "Fenced",
    "HandsOff",
    "PositionGap",
    "PositionMismatch",
    "RecordsDeleted",
    "StateBarred",
    "StateLost",
    "StateTooNew",
    "StoreUnavailable",
    "words_of",
]


class EngineError(Exception):
    """Base of every fault that ends a partition task."""


class Fenced(EngineError):
    """A newer owner of the partition has fenced this one off."""


class PositionGap(EngineError):
    """A batch begins above the position that the task expects next."""


class PositionMismatch(EngineError):
    """The consumer group's committed offsets and the positions inside the state differ."""


class RecordsDeleted(EngineError):
    """Retention removed input records before they were processed."""


class CorruptStore(EngineError):
    """The local store cannot be opened or read."""


class StateLost(EngineError):
    """Input was processed, and what became of it is nowhere any more."""


class StoreUnavailable(EngineError):
    """The local store is in use by another process, or its disk is full or forbidden."""


class HandsOff(EngineError):
    """This program must not take the partition, however often it is started."""


class StateTooNew(HandsOff):
    """A state, or a message between partitions, is in a format that this program cannot read."""


class StateBarred(HandsOff):
    """An operation on the whole state began and has not ended: it may be half there."""


#: Whose errors may be logged with their words: what they say was not read from a record.
_OURS: Final = ("pointstream.", "aiokafka.", "rocksdict")


def words_of(error: BaseException) -> str:
    """What a log may say of an error: its words if they are ours, Kafka's or the system's.

    Else its type alone. The words of a `KeyError` or of a parser quote what they stumbled over, and
    that may be a member.
    """
    kind = type(error)
    if kind.__module__.startswith(_OURS) or isinstance(error, OSError):
        return str(error) or kind.__name__
    return kind.__name__
