"""A job that knows nothing of points: it counts records by key and numbers them."""

import orjson

from pointstream.engine import InputRecord, Output, State
from pointstream.engine.driver import EngineTestDriver


class Counting:
    """Per key: how many records, and one output record for each, numbered without a gap."""

    def begin(self, state: State, output: Output) -> None:
        self.state, self.output = state, output

    def process(self, records: list[InputRecord]) -> int:
        state, output = self.state, self.output
        for record in records:
            if record.topic == "ticks":
                state.put(b"now", record.value)
                continue
            key = b"n" + record.key
            count = int(state.get(key) or 0) + 1
            state.put(key, b"%d" % count)
            output.send("numbers", record.key, orjson.dumps([count, record.offset]))
        return len(records)

    def finish(self) -> None:
        pass


def numbers(driver: EngineTestDriver) -> dict[bytes, list[tuple[int, int]]]:
    """Per key the numbers sent, each with the offset of its cause."""
    sent: dict[bytes, list[tuple[int, int]]] = {}
    for record in driver.outputs("numbers"):
        sent.setdefault(record.key, []).append(tuple(orjson.loads(record.value)))
    return sent


def counted_once(driver: EngineTestDriver) -> bool:
    """Whether every input is numbered exactly once and the state agrees with the output."""
    sent = numbers(driver)
    by_cause: dict[tuple[int, bytes, int], int] = {}
    for number in range(driver.partitions):
        for record in driver.broker.records(("in", number)):
            by_cause[number, record.key, record.offset] = 0
    for record in driver.outputs("numbers"):
        cause = (record.partition, record.key, orjson.loads(record.value)[1])
        by_cause[cause] = by_cause.get(cause, 0) + 1
    state = {
        key[1:]: int(value)
        for number in range(driver.partitions)
        for key, value in driver.state(number).items()
        if key.startswith(b"n") and key != b"now"
    }
    return (
        all(times == 1 for times in by_cause.values())
        and all([n for n, _ in of] == list(range(1, len(of) + 1)) for of in sent.values())
        and state == {key: len(of) for key, of in sent.items()}
        and driver.lag() == 0
    )
