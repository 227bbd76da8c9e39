"""Short ways to say what ladders of tiers a test has."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger_support import SPEND, Bench, programme, rule

from pointstream.contracts.wire import epoch_ms
from pointstream.rules import CompiledProgramme

GROWTH = {"id": "growth", "spendable": False}
TO_GROWTH = rule("spend", id="growth", wallet="growth", points=1, per_minor=100)
LIFETIME = {"kind": "lifetime"}


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def tier(id_: str, threshold: int | None, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "threshold": threshold, **fields}


def ladder(*tiers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A ladder by points over a lifetime; member and gold from 1,000 unless tiers are given."""
    fields.setdefault("window", LIFETIME)
    return {
        "id": "status",
        "tiers": [tier("member", 0), *(tiers or (tier("gold", 1_000),))],
        **fields,
    }


def with_ladder(*tiers: dict[str, Any], rules: Any = (SPEND,), **fields: Any) -> CompiledProgramme:
    settings = {name: fields.pop(name) for name in ("wallets", "refund_policy") if name in fields}
    settings.setdefault("wallets", [{"id": "points"}, GROWTH])
    settings["time_zone"] = fields.pop("time_zone", "Asia/Shanghai")
    return programme(*rules, ladders=[ladder(*tiers, **fields)], **settings)


def changes(bench: Bench) -> list[tuple[str, str, str]]:
    """What was told: direction, from and to."""
    return [
        (change["direction"], change["from_tier"], change["to_tier"])
        for change in bench.tier_changes
    ]


def crm(bench: Bench) -> dict[str, Any]:
    bench.flush()
    return bench.standings[-1].crm_sync
