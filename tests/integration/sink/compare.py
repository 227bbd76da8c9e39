"""What the tables should have, by the topics; and what is otherwise, in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from pydantic import BaseModel

from pointstream.contracts.outputs import BalanceChange, CrmSync, MallSync
from pointstream.operations.reading import Record

from .postgres import Postgres

__all__ = ["TABLES", "differences"]

#: Of each topic: the table, its key, and the promise.
TABLES: Mapping[str, tuple[str, tuple[str, ...], type[BaseModel]]] = {
    "balance-changes": ("balance_changes", ("member_id", "seq"), BalanceChange),
    "crm-sync": ("crm_sync", ("member_id",), CrmSync),
    "mall-sync": ("mall_sync", ("member_id",), MallSync),
}
_LEFT_OUT = {"written_off": 0, "next_expiry_points": 0}
_VIEWS = ("missing_entries", "wrong_balances", "wrong_standings")
_TOLD = 10


def differences(database: Postgres, records: Mapping[str, Iterable[Record]]) -> list[str]:
    """Hold each column of each row against the topics' committed records; empty if all is well."""
    found = []
    for topic, of_topic in records.items():
        table, key, model = TABLES[topic]
        wanted = _rows(of_topic, key, model)
        with database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            there = cursor.execute(f"SELECT * FROM {table}".encode()).fetchall()
        rows = {tuple(row[name] for name in key): row for row in there}
        for at in wanted.keys() | rows.keys():
            if wanted.get(at) != rows.get(at):
                found.append(f"{table} {at}: {rows.get(at)}, by the topic {wanted.get(at)}")
    for view in _VIEWS:
        found += [f"{view}: {row}" for row in database.rows(f"SELECT * FROM {view}")]
    return found if len(found) <= _TOLD else [*found[:_TOLD], f"… {len(found)} in all"]


def _rows(
    records: Iterable[Record], key: tuple[str, ...], model: type[BaseModel]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        if record.value is None:
            rows.pop(((record.key or b"").decode(),), None)
            continue
        body = json.loads(record.value)
        at = tuple(body[name] for name in key)
        assert at not in rows or key == ("member_id",), f"{at} is twice in the topic"
        rows[at] = {name: _value(name, body) for name in model.model_fields} | {
            "kafka_partition": record.partition,
            "kafka_offset": record.offset,
            "body": body,
        }
    return rows


def _value(name: str, body: Mapping[str, Any]) -> Any:
    value = body.get(name)
    if value is None:
        return _LEFT_OUT.get(name)
    if name.endswith(("_at", "_since", "_until")):
        return datetime.fromisoformat(value)
    return value
