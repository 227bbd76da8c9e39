"""`schemas/`: current, complete, and of one mind with the models."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from golden_samples import SCHEMAS, key_of, samples, schema
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from pointstream.contracts import outputs
from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.generate import documents, main
from pointstream.contracts.topics import INPUT_TYPES, topic_of_type, topic_specs
from pointstream.contracts.vocabulary import DeadLetterCode, MovementType, Reason

INPUTS = samples("inputs")
OUTPUTS = samples("outputs")
MODELS: dict[str, type[BaseModel]] = {
    "balance-changes": outputs.BalanceChange,
    "crm-sync": outputs.CrmSync,
    "mall-sync": outputs.MallSync,
    "tier-changes": outputs.TierChange,
    "reminders": outputs.Reminder,
    "command-results": outputs.CommandResult,
    "fraud-flags": outputs.FraudFlag,
    "shadow-diffs": outputs.ShadowDiff,
    "dead-letters.headers": outputs.DeadLetterHeaders,
}


def test_the_directory_is_current() -> None:
    """What is checked in is what the models say (`make schemas` writes it)."""
    assert main([str(SCHEMAS), "--check"]) == 0


def test_the_check_sees_what_is_stale_missing_or_left_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of difference is named, and writing again mends it."""
    assert main([str(tmp_path)]) == 0
    (tmp_path / "asyncapi.json").write_text("{}")
    (tmp_path / "inputs/order.paid.schema.json").unlink()
    (tmp_path / "inputs/order.sent.schema.json").write_text("{}")
    (tmp_path / "README.md").write_text("not generated")
    capsys.readouterr()

    assert main([str(tmp_path), "--check"]) == 1
    named = capsys.readouterr().err
    assert named.count("not current") == 3
    assert all(name in named for name in ("asyncapi.json", "order.paid", "order.sent"))

    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    assert (tmp_path / "README.md").exists()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--chekc"]])
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    """Exit code 2, and nothing is written."""
    assert main(arguments) == 2


@pytest.mark.parametrize("path", [path for path in documents() if path.endswith(".schema.json")])
def test_each_schema_is_a_schema(path: str) -> None:
    """Valid in the dialect that it names."""
    document = json.loads(documents()[path])
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(document)


@pytest.mark.parametrize(("name", "value"), INPUTS)
def test_input_samples_fit_their_schema(name: str, value: dict[str, Any]) -> None:
    """A publisher that validates against the schema is not turned away for what we take."""
    Draft202012Validator(schema(f"inputs/{name}")).validate(value)


@pytest.mark.parametrize(("name", "value"), OUTPUTS)
def test_output_samples_fit_their_schema_and_their_model(name: str, value: dict[str, Any]) -> None:
    """Schema and model promise the same."""
    Draft202012Validator(schema(f"outputs/{name}")).validate(value)
    MODELS[name].model_validate(value)


def test_there_is_a_sample_of_everything() -> None:
    """No type and no output without one."""
    assert {name for name, _ in INPUTS} == {t for types in INPUT_TYPES.values() for t in types}
    assert {name for name, _ in OUTPUTS} == set(MODELS)


@pytest.mark.parametrize(("name", "value"), OUTPUTS)
def test_readers_must_bear_new_fields_and_we_must_not_send_them(
    name: str, value: dict[str, Any]
) -> None:
    """The schema is open, the model is closed."""
    later = {**value, "new_field": 1}
    Draft202012Validator(schema(f"outputs/{name}")).validate(later)
    if name != "dead-letters.headers":
        with pytest.raises(ValidationError, match="new_field"):
            MODELS[name].model_validate(later)


NULLABLE = st.sampled_from(sorted({field for _, value in INPUTS for field in value}))
ANY = st.sampled_from([None, 0, 1, -1, 1.5, True, "", "x", "x\n", "02-29", [], ["x"], {}, 10**16])


@given(st.sampled_from(INPUTS), st.dictionaries(NULLABLE, ANY, max_size=2))
@settings(max_examples=1000, deadline=None)
def test_what_is_taken_fits_the_schema(
    pair: tuple[str, dict[str, Any]], changes: dict[str, Any]
) -> None:
    """Nothing that the schema forbids gets through."""
    name, value = pair
    changed = {**value, **changes, "type": name}
    answer = decode(topic_of_type(name), key_of(value), orjson.dumps(changed))
    if isinstance(answer, Decoded):
        Draft202012Validator(schema(f"inputs/{name}")).validate(changed)


# --- what the contract promises ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (
            outputs.BalanceChange,
            "event_id type member_id wallet seq occurred_at recorded_at amount delta due "
            "written_off available_after pending_after held_after debt_after lots cause_event_id "
            "cause_type cause_topic cause_partition cause_offset rule_id rule_version ruleset_hash "
            "order_id store_id brand_id channel campaign_id actor_id reason "
            "transfer_id counterparty_id confirmed_by item_id quantity flag_id",
        ),
        (
            outputs.CrmSync,
            "member_id seq status tier tier_since tier_until next_tier next_tier_missing services "
            "tiers available pending held debt lifetime_earned lifetime_redeemed lifetime_expired "
            "next_expiry_at next_expiry_points last_activity_at segments updated_at",
        ),
        (
            outputs.MallSync,
            "member_id seq status tier available held next_expiry_at next_expiry_points updated_at",
        ),
        (
            outputs.CommandResult,
            "command_id type member_id outcome reason seq available_after resent",
        ),
        (
            outputs.FraudFlag,
            "flag_id state action detector rule_version entity_kind entity_id member_ids observed "
            "threshold window_seconds evidence explanation occurred_at",
        ),
        (outputs.LotChange, "lot_id delta expires_at"),
    ],
)
def test_an_output_has_exactly_the_promised_fields(model: type[BaseModel], fields: str) -> None:
    """None is renamed or removed; a sink's columns depend on it."""
    assert list(model.model_fields) == fields.split()


def test_another_wallet_adds_its_balance_to_the_standing() -> None:
    """As `<wallet>_available`, a whole number from 0; nothing else may be added."""
    standing = next(value for name, value in OUTPUTS if name == "crm-sync")
    validator = Draft202012Validator(schema("outputs/crm-sync"))
    for bad in (-1, "1", 1.5, None):
        wrong = {**standing, "stars_available": bad}
        assert not validator.is_valid(wrong)
        with pytest.raises(ValidationError):
            outputs.CrmSync.model_validate(wrong)
    outputs.CrmSync.model_validate({**standing, "stars_available": 7})


@pytest.mark.parametrize(
    ("outcome", "reason"), [("rejected", None), ("accepted", "not_permitted"), ("rejected", "why")]
)
def test_an_answer_has_a_listed_reason_exactly_when_it_is_no(
    outcome: str, reason: str | None
) -> None:
    """A rejection without a reason helps nobody."""
    answer = {**OUTPUTS[[name for name, _ in OUTPUTS].index("command-results")][1]}
    with pytest.raises(ValidationError):
        outputs.CommandResult.model_validate({**answer, "outcome": outcome, "reason": reason})


# --- AsyncAPI ------------------------------------------------------------------------------------


def asyncapi() -> dict[str, Any]:
    """The document as checked in."""
    document: dict[str, Any] = json.loads((SCHEMAS / "asyncapi.json").read_text())
    return document


def references(part: Any) -> list[str]:
    """Every `$ref` in a part of the document."""
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [ref for inner in part.values() for ref in references(inner)]
    return [ref for inner in part for ref in references(inner)] if isinstance(part, list) else []


def test_the_asyncapi_document_has_every_public_topic_and_type() -> None:
    """Inputs are received, outputs sent; what is internal is nobody's business."""
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    public = {spec.suffix: spec for spec in topic_specs() if spec.direction != "internal"}
    assert set(document["channels"]) == set(public)
    for suffix, spec in public.items():
        channel = document["channels"][suffix]
        assert channel["address"] == spec.name
        action = "receive" if spec.direction == "in" else "send"
        assert document["operations"][f"{action}.{suffix}"]["action"] == action
        if spec.direction == "in":
            assert set(channel["messages"]) == set(spec.types)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    """Inside the document or to a schema beside it."""
    document = asyncapi()
    found = references(document)
    assert len(found) > 60
    for reference in found:
        if reference.startswith("#/"):
            part: Any = document
            for step in reference[2:].split("/"):
                part = part[step]
        else:
            assert (SCHEMAS / reference).is_file(), reference


# --- README --------------------------------------------------------------------------------------


def test_the_readme_tells_every_topic_type_field_and_word() -> None:
    """A field that nobody can look up is not a contract."""
    readme = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    words: set[str] = {*DeadLetterCode, *Reason, *MovementType}
    for spec in topic_specs():
        if spec.direction != "internal":
            words |= {spec.name, *(spec.types if spec.direction == "in" else ())}
    for path in documents():
        if path.endswith(".schema.json"):
            document = json.loads(documents()[path])
            words |= set(document["properties"])
    missing = sorted(word for word in words if f"`{word}`" not in readme)
    assert not missing
