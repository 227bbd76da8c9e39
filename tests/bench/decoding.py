"""How long decoding takes, in each way that pydantic offers: `python tests/bench/decoding.py`.

Prints microseconds per record, the best of many rounds, for typical records. The ways before
`decode` stop at the validated model; `decode` also looks at key and headers and takes the digest.
"""

import timeit
from collections.abc import Callable
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.inputs import CheckinRecorded, InputEvent, MemberEvent, OrderPaid

UNION = TypeAdapter(Annotated[InputEvent, Field(discriminator="type")]).validator
MEMBER = "m-00012345"
ENVELOPE = {
    "event_id": "0190b2a4-7d4e-7c3e-a1f5-3b4a5c6d7e8f",
    "member_id": MEMBER,
    "occurred_at": "2026-03-01T10:15:30.123+08:00",
    "store_id": "sh-017",
    "channel": "pos",
    "device_id": "till-4",
    "source": "pos-shanghai",
}


def order(lines: int) -> bytes:
    """An `order.paid` with so many lines."""
    return orjson.dumps(
        {
            **ENVELOPE,
            "type": "order.paid",
            "order_id": "o-20260301-000123",
            "currency": "CNY",
            "paid_minor": 1280 * lines,
            "lines": [
                {
                    "line_id": str(number),
                    "sku": f"sku-{number}",
                    "category": "shoes",
                    "quantity": 1,
                    "paid_minor": 1280,
                }
                for number in range(lines)
            ],
        }
    )


def measure(topic: str, value: bytes, model: type[MemberEvent]) -> None:
    """Print one line for each way of decoding this record."""
    known = model.__pydantic_validator__
    key = MEMBER.encode()
    headers = [("ce_specversion", b"1.0"), ("ce_id", ENVELOPE["event_id"].encode())]
    assert isinstance(decode(topic, key, value), Decoded)
    ways: dict[str, Callable[[], object]] = {
        "pydantic JSON, tagged union": lambda: UNION.validate_json(value),
        "pydantic JSON, the model known": lambda: known.validate_json(value),
        "orjson, then tagged union": lambda: UNION.validate_python(orjson.loads(value)),
        "orjson, then the model of its type": lambda: known.validate_python(orjson.loads(value)),
        "decode": lambda: decode(topic, key, value),
        "decode, CloudEvents headers": lambda: decode(topic, key, value, headers),
    }
    for way, run in ways.items():
        best_s = min(timeit.repeat(run, number=1000, repeat=30)) / 1000
        print(f"  {way:36} {best_s * 1e6:6.2f} µs")


def main() -> None:
    """Measure and print."""
    checkin = orjson.dumps({**ENVELOPE, "type": "checkin.recorded"})
    for name, topic, value, model in (
        ("checkin.recorded", "check-ins", checkin, CheckinRecorded),
        ("order.paid, 1 line", "orders", order(1), OrderPaid),
        ("order.paid, 5 lines", "orders", order(5), OrderPaid),
    ):
        print(f"{name} ({len(value)} bytes)")
        measure(topic, value, model)


if __name__ == "__main__":
    main()
