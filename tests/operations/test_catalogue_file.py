"""Items in a file: what is taken, and how mistakes are told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.inputs import ItemPublished
from pointstream.operations.catalogue import CatalogueInvalid, item_records, load_items, tombstones
from pointstream.operations.programme import load_programme

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)

GOOD = """
items:
  - item_id: mug
    price_points: 250
  - item_id: tote
    price_points: 900
    stock: 40
    limit_per_member: 1
    limit_per_tier: {gold: 3}
    valid_from: 2026-03-01T00:00:00+08:00
    valid_until: "2026-04-01T00:00:00+08:00"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "items.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_items_become_records_that_the_contract_takes(tmp_path: Path) -> None:
    """Keyed by the item, dated now, each with an id of its own."""
    items = load_items(written(tmp_path, GOOD), NOW)
    decoded = []
    for record in item_records("points.", items):
        assert record.topic == "points.catalogue"
        answer = decode("catalogue", record.key, record.value)
        assert isinstance(answer, Decoded)
        assert isinstance(answer.event, ItemPublished)
        decoded.append(answer.event)
    mug, tote = decoded
    assert (mug.item_id, mug.price_points, mug.stock, mug.occurred_at) == ("mug", 250, None, NOW)
    assert (tote.stock, tote.limit_per_member, tote.limit_per_tier) == (40, 1, {"gold": 3})
    assert tote.valid_from == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert tote.valid_until == datetime(2026, 3, 31, 16, tzinfo=UTC)
    assert mug.event_id != tote.event_id


def test_a_file_can_say_when_a_version_is_from_and_what_it_is_called(tmp_path: Path) -> None:
    """Published again it is the same event then, and taken once."""
    path = written(
        tmp_path,
        '{"items": [{"item_id": "mug", "price_points": 1, "event_id": "v1",'
        ' "occurred_at": "2026-02-01T00:00:00Z"}]}',
    )
    assert load_items(path, NOW) == load_items(path, datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("items: []", "items.yaml:1: there must be at least one item"),
        ("- mug", "items.yaml: a catalogue is a mapping with the list `items`"),
        ("items:\n- item_id: mug", "items.yaml:2: items[0].price_points: Field required"),
        (
            "items:\n- item_id: mug\n  price_points: 2.5",
            "items.yaml:3: items[0].price_points: Input should be a valid integer",
        ),
        (
            "items:\n- item_id: mug\n  price_points: 2\n  limit_per_membr: 1",
            "items.yaml:4: items[0].limit_per_membr: Extra inputs are not permitted",
        ),
        (
            "items:\n- item_id: mug\n  price_points: 2\n  valid_from: 2026-03-01",
            "items.yaml:4: items[0].valid_from: must be an RFC 3339 time",
        ),
        (
            "items:\n- {item_id: mug, price_points: 2}\n- {item_id: mug, price_points: 3}",
            "an item comes twice: mug",
        ),
        (
            "items:\n- item_id: mug\n  price_points: 2\n  price_points: 3",
            "items.yaml:4: 'price_points' is given twice",
        ),
    ],
)
def test_a_mistake_is_told_with_line_and_path(tmp_path: Path, text: str, problem: str) -> None:
    """So that it is found and corrected."""
    with pytest.raises(CatalogueInvalid) as caught:
        load_items(written(tmp_path, text), NOW)
    assert problem in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """A file is corrected in one go."""
    text = "items:\n- item_id: mug\n- item_id: tote\n  price_points: 0"
    with pytest.raises(CatalogueInvalid) as caught:
        load_items(written(tmp_path, text), NOW)
    assert len(caught.value.problems) == 2


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(CatalogueInvalid, match=r"nothing\.yaml: cannot be read"):
        load_items(tmp_path / "nothing.yaml", NOW)


def test_the_example_fits_the_programme_that_comes_along() -> None:
    """Its items can be published, and its tiers are those of the first ladder."""
    items = load_items(Path(__file__).parents[2] / "deploy" / "catalogue.yaml", NOW)
    tiers = {tier.id for tier in load_programme().ladders[0].tiers}
    assert {tier for item in items for tier in item.limit_per_tier} <= tiers


def test_a_tombstone_is_a_key_and_nothing() -> None:
    """On the same topic."""
    (record,) = tombstones("points.", ["mug"])
    assert (record.topic, record.key, record.value) == ("points.catalogue", b"mug", None)
