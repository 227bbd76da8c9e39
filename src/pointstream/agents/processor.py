"""Records in, decisions, records out: one partition's share of the job."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import structlog

from pointstream.agents.telling import address_of
from pointstream.contracts.decoding import DEFAULT_MAX_BYTES, Decoded, Refusal, decode
from pointstream.contracts.topics import DEFAULT_PREFIX, INPUT_TYPES
from pointstream.contracts.wire import cloudevent_headers, dumps
from pointstream.engine import Header, InputRecord, Output, State, StateTooNew
from pointstream.engine.tracing import trace_of
from pointstream.ledger import Answer, DeadLetter, Decision, Ledger, Source, Standing
from pointstream.ledger.closed import forwarded_source
from pointstream.ledger.codec import READS
from pointstream.ledger.decision import Effects, Entry
from pointstream.ledger.errors import MessageTooNew
from pointstream.ledger.messages import FORWARDED, Message, decode_message, encode_message
from pointstream.ledger.notes import packed
from pointstream.operations.build import program_version
from pointstream.operations.metrics.counts import Counts
from pointstream.operations.placement import partition_of

__all__ = ["INPUTS", "MEMBER_INPUTS", "MESSAGES", "TICKS", "PointsProcessor"]

logger = structlog.get_logger(__name__)

#: The inputs that meet in a member's partition, by suffix.
MEMBER_INPUTS = ("orders", "check-ins", "referrals", "activities", "members", "commands")
TICKS = "internal.ticks"
MESSAGES = "internal.messages"
#: All that a partition task takes, but for the passing of time.
INPUTS = (*MEMBER_INPUTS, "catalogue", "rules", "detectors", MESSAGES)
#: All lots of a month expire at one instant: more than one transaction can hold.
_TIMERS_PER_BATCH = 1000


class PointsProcessor:
    """Decodes, decides, and sends what follows. Lives as long as its partition's task."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        partitions: int,
        prefix: str = DEFAULT_PREFIX,
        source: str = "pointstream",
        max_bytes: int = DEFAULT_MAX_BYTES,
        counts: Counts | None = None,
        decoding: Callable[..., Decoded | Refusal] = decode,
    ) -> None:
        """`partitions` is how many the topics have: what concerns another key goes to its owner.
        `prefix` begins every topic's name; `source` is the CloudEvents source of what is sent.

        A record of more than `max_bytes` bytes becomes a dead letter. `counts` is where the open
        batch is counted. `decoding` stands for `decode`: a replay decodes once for two jobs.
        """
        assert set(MEMBER_INPUTS) <= set(INPUT_TYPES)
        self._ledger = ledger
        self._partitions = partitions
        ledger.among(partitions)
        self._source = source
        self._max_bytes = max_bytes
        self._decode = decoding
        self._by_events = ledger.by_events
        self._suffixes: Mapping[str, str] = {prefix + suffix: suffix for suffix in (*INPUTS, TICKS)}
        self._messages = prefix + MESSAGES
        self._changes = prefix + "balance-changes"
        self._crm = prefix + "crm-sync"
        self._mall = prefix + "mall-sync"
        self._results = prefix + "command-results"
        self._dead_letters = prefix + "dead-letters"
        self._tiers = prefix + "tier-changes"
        self._reminders = prefix + "reminders"
        self._flags = prefix + "fraud-flags"
        self._shadow_diffs = prefix + "shadow-diffs"
        self.counts = counts or Counts()
        self._output = Output(0)
        self._timers_left = 0
        #: Of the members whose standing is sent at the end of the batch: the newest trace of each.
        self._traces: dict[str, tuple[Header, ...]] = {}

    def begin(self, state: State, output: Output) -> None:
        """See `engine.Processor`."""
        self._output = output
        self.counts.clear()
        self._timers_left = _TIMERS_PER_BATCH
        self._ledger.open(state)
        self._tell_set_aside()

    def process(self, records: Sequence[InputRecord]) -> int:
        """See `engine.Processor`."""
        output, suffixes = self._output, self._suffixes
        try:
            # All are decoded before the first is decided: the caches of a CPU hold the code of one
            # of the two, and in turn all of it took 7 % longer.
            ahead: list[Decoded | Refusal | None] = []
            for record in records:
                ahead.append(self._decoded(record))
            for done, decoded in enumerate(ahead):
                record = records[done]
                if not self._advance(self._time(record, decoded), output):
                    return done
                suffix = suffixes[record.topic]
                headers = record.headers
                if headers:
                    output.trace = trace_of(headers)
                if decoded is not None:
                    self._event(suffix, _source(record), decoded, output)
                elif suffix is MESSAGES:
                    self._message(record, output)
                if headers:
                    output.trace = ()
        except Exception:
            logger.error("the fault comes with this record", **address_of(record))
            raise
        return len(records)

    @property
    def by_events(self) -> bool:
        """Whether partition time is the latest event's, and not the broker's (`clock: events`)."""
        return self._by_events

    def time_of(self, record: InputRecord) -> int:
        """Return the time that a record brings to its partition, in ms UTC; 0 if none."""
        return self._time(record, self._decoded(record) if self._by_events else None)

    def _time(self, record: InputRecord, decoded: Decoded | Refusal | None) -> int:
        if not self._by_events:
            return record.timestamp
        if not isinstance(decoded, Decoded):
            return 0
        return self._ledger.event_time_ms(decoded.event, record.timestamp)

    def _decoded(self, record: InputRecord | Source) -> Decoded | Refusal | None:
        """Decode a record of an input; None for a message or tick."""
        suffix = self._suffixes[record.topic]
        if suffix is MESSAGES or suffix is TICKS:
            return None
        return self._decode(
            suffix, record.key, record.value, record.headers, max_bytes=self._max_bytes
        )

    def _advance(self, now_ms: int, output: Output) -> bool:
        """Let time pass; whether it got there within what one transaction may hold.

        `now_ms` is the broker's time, also of a tick: a worker's clock that runs ahead must not
        expire anybody's points.
        """
        decisions = self._ledger.advance(now_ms, self._timers_left)
        self._timers_left -= len(decisions)
        for decision in decisions:
            self._send_decision("timers", decision, output)
        return not self._ledger.behind

    def finish(self) -> None:
        """See `engine.Processor`: one latest standing per member touched."""
        for partition, message in packed(self._ledger.take_notes(), self._owner_of):
            value = encode_message(message)
            self._output.send(self._messages, None, value, partition=partition)
        for standing in self._ledger.close():
            if self._traces:
                self._output.trace = self._traces.get(standing.member_id, ())
            self._send_standing(standing, self._output)
        self._traces.clear()
        # The transaction still needs what was sent; an idle partition must not hold on to it.
        self._output = Output(0)

    def _event(
        self,
        suffix: str,
        source: Source,
        decoded: Decoded | Refusal,
        output: Output,
        as_member: str | None = None,
    ) -> None:
        if isinstance(decoded, Refusal):
            self.counts.outcomes[suffix, decoded.code] += 1
            letter = DeadLetter(decoded.code, decoded.message, source)
            self._send_dead_letter(letter, output)
            return
        if output.trace and source.key is not None:
            self._traces[as_member or source.key.decode()] = output.trace
        decision = self._ledger.decide(decoded.event, decoded.digest, source, as_member=as_member)
        self._send_decision(suffix, decision, output, passed_on=as_member is not None)

    def _message(self, record: InputRecord, output: Output) -> None:
        try:
            message = decode_message(record.value)
        except MessageTooNew as error:
            place = f"{record.topic}[{record.partition}], offset {record.offset}"
            raise StateTooNew(
                f"{place}: a message between partitions is in format {error.found}; this release"
                f" ({program_version()}) reads up to {max(READS)}. It was not taken. Run the"
                " release of the other workers here, too."
            ) from error
        if message.type == FORWARDED:
            source = forwarded_source(message)
            decoded = self._decoded(source)
            assert decoded is not None
            self._event(self._suffixes[source.topic], source, decoded, output, message.to)
        else:
            decision = self._ledger.receive(message, _source(record))
            self._send_decision(MESSAGES, decision, output)
            self._tell_set_aside()

    def _tell_set_aside(self) -> None:
        """Say loudly which accepted rule and detector sets count for nothing in this process."""
        for aside in self._ledger.take_set_aside():
            self.counts.set_aside.append(aside.rule_set)
            logger.error(
                f"{aside.what} set aside: it counts for nothing until the programme has what it"
                " needs",
                rule_set=aside.rule_set,
                version=aside.version,
                reason=aside.reason,
            )

    # -- sending -----------------------------------------------------------------------

    def _send_decision(
        self, suffix: str, decision: Decision, output: Output, *, passed_on: bool = False
    ) -> None:
        self.counts.outcomes[suffix, decision.outcome] += 1
        for entry in decision.entries:
            self.counts.moved(entry)
            if output.trace:
                self._traces[entry["member_id"]] = output.trace
            self._send_entry(entry, output)
        if decision.result is not None:
            # The answer to a command that was passed on may be one that was given under the old
            # id: it goes where that member's answers are.
            self._send_answer(decision.result, output, elsewhere=passed_on)
        for dead_letter in decision.dead_letters:
            self._send_dead_letter(dead_letter, output)
        if decision.effects is not None:
            self._send_effects(decision.effects, output)

    def _send_effects(self, effects: Effects, output: Output) -> None:
        for message in effects.messages:
            self._send_message(message, output)
        for answer in effects.answers:
            self._send_answer(answer, output)
        for change in effects.tier_changes:
            self._send_told(self._tiers, "tier.changed", change["member_id"], change, output)
        for reminder in effects.reminders:
            member_id = reminder["member_id"]
            self._send_told(self._reminders, reminder["type"], member_id, reminder, output)
        for flag in effects.flags:
            self._send_flag(flag, output)
        for diff in effects.shadow_diffs:
            self._send_told(self._shadow_diffs, "ruleset.differed", diff["member_id"], diff, output)

    def _owner_of(self, key: str) -> int:
        return partition_of(key.encode(), self._partitions)

    def _send_message(self, message: Message, output: Output) -> None:
        value = encode_message(message)
        if message.to is None:
            for partition in range(self._partitions):
                output.send(self._messages, None, value, partition=partition)
        else:
            key = message.to.encode()
            partition = partition_of(key, self._partitions)
            output.send(self._messages, key, value, partition=partition)

    def _send_told(
        self, topic: str, kind: str, member_id: str, body: dict[str, Any], output: Output
    ) -> None:
        headers = cloudevent_headers(
            kind, body["event_id"], body["recorded_at"], self._source, subject=member_id
        )
        output.send(topic, member_id.encode(), dumps(body), headers)

    def _send_flag(self, flag: dict[str, Any], output: Output) -> None:
        self.counts.flags.append(flag)
        entity_id = flag["entity_id"]
        value = dumps(flag)
        # A flag that goes on has several records with one state: the content tells them apart.
        digest = blake2b(value, digest_size=6).hexdigest()
        headers = cloudevent_headers(
            "fraud.flag",
            f"{flag['flag_id']}:{flag['state']}:{digest}",
            flag["occurred_at"],
            self._source,
            subject=entity_id,
        )
        key = entity_id.encode()
        partition = partition_of(key, self._partitions)
        output.send(self._flags, key, value, headers, partition=partition)

    def _send_entry(self, entry: Entry, output: Output) -> None:
        member_id = entry["member_id"]
        headers = cloudevent_headers(
            entry["type"],
            entry["event_id"],
            entry["recorded_at"],
            self._source,
            subject=member_id,
        )
        output.send(self._changes, member_id.encode(), dumps(entry), headers)

    def _send_answer(self, answer: Answer, output: Output, *, elsewhere: bool = False) -> None:
        # One command has one answer however often it is given: the id says so.
        headers: list[Header] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", answer["command_id"].encode()),
            ("ce_source", self._source.encode()),
            ("ce_type", b"command.answered"),
            ("ce_subject", answer["member_id"].encode()),
            ("content-type", b"application/json"),
        ]
        key = answer["member_id"].encode()
        partition = partition_of(key, self._partitions) if elsewhere else None
        output.send(self._results, key, dumps(answer), headers, partition=partition)

    def _send_standing(self, standing: Standing, output: Output) -> None:
        member_id = standing.member_id
        key = member_id.encode()
        for topic, system, kind, body in (
            (self._crm, "crm", "member.standing", standing.crm_sync),
            (self._mall, "mall", "member.position", standing.mall_sync),
        ):
            if body is None:
                output.send(topic, key, None)
                continue
            value = dumps(body)
            # A standing can change without an entry (a profile does), so its content is part of
            # the id: source and id together name one content for good.
            content = blake2b(value, digest_size=8).hexdigest()
            headers = cloudevent_headers(
                kind,
                f"{system}:{member_id}:{body['seq']}:{content}",
                body["updated_at"],
                self._source,
                subject=member_id,
            )
            output.send(topic, key, value, headers)

    def _send_dead_letter(self, dead_letter: DeadLetter, output: Output) -> None:
        self.counts.dead_letters.append(dead_letter)
        source = dead_letter.source
        # Kafka Streams' header names, so that tools made for those dead letters read ours.
        told = {
            "__streams.errors.exception": dead_letter.code.value,
            "__streams.errors.message": dead_letter.message,
            "__streams.errors.topic": source.topic,
            "__streams.errors.partition": str(source.partition),
            "__streams.errors.offset": str(source.offset),
            "points.error.code": dead_letter.code.value,
        }
        headers = [*source.headers, *((name, text.encode()) for name, text in told.items())]
        # It has its own trace among its headers, and it may be another record's.
        output.trace, trace = (), output.trace
        output.send(self._dead_letters, source.key, source.value, headers)
        output.trace = trace


def _source(record: InputRecord) -> Source:
    return Source(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        record.headers,
    )
