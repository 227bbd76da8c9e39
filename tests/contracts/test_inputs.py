"""Events as values: frozen, and the same after a way through JSON."""

from typing import Any

import orjson
import pytest
from golden_samples import key_of, sample, samples
from pydantic import ValidationError

from pointstream.contracts.decoding import Decoded, decode, digest_of
from pointstream.contracts.inputs import InputEvent
from pointstream.contracts.topics import topic_of_type


def event_of(value: dict[str, Any]) -> InputEvent:
    """The event of a body that fits."""
    answer = decode(topic_of_type(value["type"]), key_of(value), orjson.dumps(value))
    assert isinstance(answer, Decoded)
    return answer.event


@pytest.mark.parametrize(("name", "value"), samples("inputs"))
def test_an_event_survives_being_kept_as_json(name: str, value: dict[str, Any]) -> None:
    """A refund that waits for its order is kept like that, and must mean the same afterwards."""
    event = event_of(value)
    again = type(event).model_validate_json(event.model_dump_json())
    assert again == event
    assert digest_of(again) == digest_of(event)


@pytest.mark.parametrize(("name", "value"), samples("inputs"))
def test_an_event_is_frozen(name: str, value: dict[str, Any]) -> None:
    """What was decoded is what is decided on."""
    with pytest.raises(ValidationError, match="frozen"):
        event_of(value).event_id = "another"


def test_times_are_kept_in_utc_whatever_their_offset() -> None:
    """JSON of ours has one way to write a moment."""
    kept = orjson.loads(event_of(sample("points.hold", 1)).model_dump_json())
    assert kept["occurred_at"] == "2026-03-01T02:15:30.000Z"
    assert kept["expires_at"] == "2026-03-01T02:30:30.000Z"
