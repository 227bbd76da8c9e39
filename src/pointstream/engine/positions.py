"""Where to go on: the group's offsets, the state's own positions and the topic must agree.

The consumer group's committed offset and the position inside the state were written by the same
transaction. When they differ, somebody changed one of them, and going on by either could count
records twice or leave some out. Each fault says how an operator decides, and the decision it
asks for is accepted.
"""

import structlog

from pointstream.engine.errors import PositionMismatch, RecordsDeleted

__all__ = ["agree"]

logger = structlog.get_logger(__name__)


def agree(place: str, committed: int | None, inside: int | None, bounds: tuple[int, int]) -> int:
    """Return the position of one topic partition, named `place` for people.

    `committed` is the group's, `inside` the state's, None where there is none; `bounds` are the
    lowest position that can be read and the end.

    Raises:
        PositionMismatch: they contradict each other, or the topic was made anew.
        RecordsDeleted: what comes next was deleted before it was processed.
    """
    begin, end = bounds
    if committed is None or committed == inside:
        # None: Kafka forgets the offsets of a group that was away for a week, and of a topic that
        # was deleted. The state forgets nothing.
        return _readable(place, committed if inside is None else inside, begin, end)
    if inside is None:
        return _readable(place, committed, begin, end)
    if not begin <= inside <= end and begin <= committed <= end:
        # Where the state would go on there is nothing any more, and the group was set to a place
        # where there is: an operator has decided.
        logger.warning(
            "going on where the group was set to, not where the state ends",
            place=place,
            state=inside,
            group=committed,
            never_processed=max(0, committed - inside),
        )
        return committed
    raise PositionMismatch(
        f"{place}: the group's committed position is {committed}, the state was built up to "
        f"{inside}. Were the group's offsets reset? Set this one to {inside} again."
    )


def _readable(place: str, position: int | None, begin: int, end: int) -> int:
    if position is None:
        return begin
    if position > end:
        raise PositionMismatch(
            f"{place}: processed up to {position}, but the topic ends at {end}. Was it deleted and "
            f"made anew? Set the group's offset to {begin} to process what is there now."
        )
    if position < begin:
        raise RecordsDeleted(
            f"{place}: {begin - position} offsets from position {position} on were deleted by "
            f"retention before they were processed. Set the group's offset to {begin} to go on "
            f"without them, publish them again, and raise retention.ms."
        )
    return position
