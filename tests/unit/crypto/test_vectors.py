"""The frozen vectors: what was sealed once opens for ever, and what must not open doesn't.

See tests/vectors/README.md. Nothing here may be changed to make a vector pass.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import generate
from vault.crypto import blind_index, capability, padding, pseudonym
from vault.crypto.envelope import Kind, key_id, unseal
from vault.crypto.primitives import DamagedError
from vault.crypto.record import (
    Address,
    DataKey,
    SealedRecord,
    Value,
    open_fields,
    open_record,
    unwrap_data_key,
)
from vault.errors import VaultError
from vault.names import Pseudonym, from_base64url
from vault.policy import FieldType
from vault.sealed.v1 import sealed_pb2

Vector = dict[str, Any]
FOLDER = Path(generate.__file__).parent
raw = bytes.fromhex


def _read(name: str) -> Vector:
    vectors: Vector = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return vectors


ENVELOPES = _read("envelope_v1.json")
RECORDS = _read("record_v1.json")
INDEX = _read("blind_index_v1.json")
CAPABILITIES = _read("pseudonym_capability_v1.json")
EXPORT_CAPABILITIES = _read("capability_v2.json")


def each(vectors: list[Vector]) -> Callable[[Any], Any]:
    names = [vector["name"] for vector in vectors]
    return pytest.mark.parametrize("vector", vectors, ids=names)


@pytest.mark.parametrize("name", generate.FILES)
def test_a_second_implementation_makes_the_same_bytes(name: str) -> None:
    """The files are what they were when they were made from the formats' descriptions."""
    assert (FOLDER / name).read_text(encoding="utf-8") == generate.text(generate.FILES[name]())


def test_the_generator_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "record_v1.json").write_text("published")
    assert generate.generate(tmp_path) == ["record_v1.json"]
    assert (tmp_path / "record_v1.json").read_text() == "published"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(generate.FILES)
    assert generate.generate(tmp_path) == list(generate.FILES)


# Envelopes.


def _unseal(vector: Vector) -> bytes:
    place = tuple(raw(part) for part in vector["place"].values())
    return unseal(raw(vector["key"]), Kind(vector["kind"].encode()), place, raw(vector["envelope"]))


@each(ENVELOPES["opened"])
def test_an_envelope_opens(vector: Vector) -> None:
    assert _unseal(vector) == raw(vector["plaintext"])
    assert key_id(raw(vector["envelope"])) == raw(vector["key_id"])


@each(ENVELOPES["refused"])
def test_an_envelope_is_refused(vector: Vector) -> None:
    with pytest.raises(DamagedError):
        _unseal(vector)


def test_every_kind_is_covered() -> None:
    """The newest kind has a file of its own, request_v1.json."""
    for vectors in ENVELOPES.values():
        kinds = {vector["kind"].encode() for vector in vectors}
        assert kinds == {kind.value for kind in Kind} - {Kind.REQUEST.value}


# Records.


def _row(vector: Vector) -> tuple[Address, DataKey, SealedRecord]:
    return (
        Address(raw(vector["compartment"]), raw(vector["pseudonym"])),
        DataKey(raw(vector["data_key_id"]), raw(vector["data_key"])),
        SealedRecord(raw(vector["row_version"]), raw(vector["sealed"])),
    )


@each(RECORDS["opened"])
def test_a_record_opens_from_the_kek_down_to_each_value(vector: Vector) -> None:
    address, data_key, row = _row(vector)
    assert row.data_key_id == data_key.id
    assert unwrap_data_key(raw(vector["kek"]), address, raw(vector["wrapped_data_key"])) == data_key

    record = open_record(address, data_key, row)
    about = vector["about"]
    assert record.subject_kind == about["subject_kind"]
    assert record.registered_at == about["registered_at"]
    assert record.restricted == about["restricted"]
    assert record.audit_salt == raw(about["audit_salt"])
    consents = [{**c, "notice_digest": raw(c["notice_digest"])} for c in about["consents"]]
    assert list(record.consents) == [sealed_pb2.Consent(**consent) for consent in consents]

    values = {field["uid"]: Value(**field) for field in vector["fields"]}
    assert open_fields(address, data_key, row, record) == values
    assert [field.uid for field in record.fields] == list(values)


@each(RECORDS["refused"])
def test_a_value_from_elsewhere_is_refused(vector: Vector) -> None:
    """The first layer holds; the second was sealed for another place."""
    address, data_key, row = _row(vector)
    record = open_record(address, data_key, row)
    with pytest.raises(DamagedError, match="does not authenticate"):
        open_fields(address, data_key, row, record)


@each(RECORDS["opened"])
def test_a_sealed_record_has_one_of_few_lengths(vector: Vector) -> None:
    assert (len(raw(vector["sealed"])) - 39) % padding.SMALLEST_RECORD == 0


# The blind index.


@pytest.mark.parametrize(
    "vector", INDEX["normalised"], ids=[f"{v['type']}: {v['name']}" for v in INDEX["normalised"]]
)
def test_equal_values_have_this_in_common(vector: Vector) -> None:
    found = blind_index.normalise(vector["type"], vector["value"], vector["region"])
    assert (found.decode() if found is not None else None) == vector["normalised"]


@each(INDEX["index_values"])
def test_this_stands_for_a_value_in_the_index(vector: Vector) -> None:
    key, compartment = raw(vector["key"]), raw(vector["compartment"])
    normalised = vector["normalised"].encode()
    found = blind_index.index_value(key, compartment, vector["uid"], normalised)
    assert found == raw(vector["index_value"])


def test_the_rules_are_those_of_the_vectors() -> None:
    """A change of rules takes a new version, a new file and a new index."""
    assert INDEX["normalisation"] == blind_index.NORMALISATION
    tried = {v["type"] for v in INDEX["normalised"] if v["normalised"] is not None}
    assert tried == blind_index.INDEXABLE_TYPES
    assert tried == {type_.value for type_ in FieldType if type_.indexable}


# Pseudonyms and capabilities.


@each(CAPABILITIES["pseudonyms"])
def test_a_pseudonym_is_computed_from_this(vector: Vector) -> None:
    found = pseudonym.transit_input(raw(vector["compartment"]), raw(vector["root_id"]))
    assert found == raw(vector["transit_input"])


def _verify(vector: Vector) -> str:
    public_key = raw(CAPABILITIES["public_key"])
    return str(
        capability.verify(
            vector["token"],
            {capability.key_id(public_key): public_key},
            raw(vector["compartment"]),
            vector["holder"],
            vector["now"],
            raw(vector.get("export_key", "")),
        )
    )


def test_a_capability_is_written_like_this() -> None:
    issued, public_key = CAPABILITIES["issued"], raw(CAPABILITIES["public_key"])
    assert capability.key_id(public_key) == raw(CAPABILITIES["key_id"])
    subject = Pseudonym.parse(issued["pseudonym"])
    held = capability.Capability(
        raw(issued["compartment"]), subject, issued["holder"], issued["expires"]
    )
    payload = held.payload(public_key)
    assert payload == raw(issued["payload"])
    assert capability.to_sign(payload) == raw(issued["signed_bytes"])
    signature = from_base64url(issued["token"].removeprefix("cap_"))[len(payload) :]
    assert capability.encode(payload, signature) == issued["token"]


@each(CAPABILITIES["accepted"])
def test_a_capability_is_accepted(vector: Vector) -> None:
    assert _verify(vector) == CAPABILITIES["issued"]["pseudonym"]


@each(CAPABILITIES["refused"])
def test_a_capability_is_refused(vector: Vector) -> None:
    with pytest.raises(VaultError) as refused:
        _verify(vector)
    assert refused.value.reason == vector["reason"]
    assert CAPABILITIES["issued"]["pseudonym"] not in str(refused.value)


def test_a_capability_for_an_export_is_written_like_this() -> None:
    issued, public_key = EXPORT_CAPABILITIES["issued"], raw(EXPORT_CAPABILITIES["public_key"])
    held = capability.Capability(
        raw(issued["compartment"]),
        Pseudonym.parse(issued["pseudonym"]),
        issued["holder"],
        issued["expires"],
        raw(issued["export_key"]),
    )
    assert held.payload(public_key) == raw(issued["payload"])


@each(EXPORT_CAPABILITIES["accepted"])
def test_a_capability_for_an_export_is_accepted(vector: Vector) -> None:
    assert _verify(vector) == EXPORT_CAPABILITIES["issued"]["pseudonym"]


@each(EXPORT_CAPABILITIES["refused"])
def test_a_capability_for_an_export_is_refused(vector: Vector) -> None:
    with pytest.raises(VaultError) as refused:
        _verify(vector)
    assert refused.value.reason == vector["reason"]
