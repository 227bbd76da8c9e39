"""The inputs that a demonstration mixes in are bad for exactly the reason they claim."""

from __future__ import annotations

from pointstream.contracts.decoding import Decoded, Refusal, decode
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.operations.faulty import faulty_inputs
from pointstream.operations.publish import OutgoingRecord

_NOW_MS = 1_772_323_200_000
_FOUND_BY_THE_LEDGER = {
    DeadLetterCode.TOO_FAR_IN_FUTURE,
    DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT,
    DeadLetterCode.REFUND_EXCEEDS_ORDER,
}


def _decode(record: OutgoingRecord) -> Decoded | Refusal:
    return decode("orders", record.key, record.value, record.headers)


def test_each_is_refused_with_its_code() -> None:
    """What decoding can find it finds; what comes before a bad record is good."""
    kinds = list(faulty_inputs("p.", "mark", "M-1", _NOW_MS, _NOW_MS - 1_000))

    for faulty in kinds:
        assert all(isinstance(_decode(record), Decoded) for record in faulty.records[:-1])
        decoded = _decode(faulty.bad)
        if faulty.code in _FOUND_BY_THE_LEDGER:
            assert isinstance(decoded, Decoded), decoded
        else:
            assert isinstance(decoded, Refusal)
            assert decoded.code == faulty.code


def test_there_is_one_of_every_kind_that_needs_no_waiting() -> None:
    """All codes but the one for which a refund has to wait a week."""
    codes = [faulty.code for faulty in faulty_inputs("p.", "mark", "M-1", _NOW_MS, _NOW_MS)]

    assert len(codes) == len(set(codes))
    assert set(codes) >= {code for code in DeadLetterCode if code in _NEEDED}


_NEEDED = {
    "too_large",
    "key_missing",
    "not_json",
    "envelope_conflict",
    "unknown_type",
    "schema_invalid",
    "lines_do_not_add_up",
    "key_mismatch",
    "id_reused_with_other_content",
    "refund_exceeds_order",
    "too_far_in_future",
}
