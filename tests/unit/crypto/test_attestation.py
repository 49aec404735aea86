"""Attestations: server and SDK agree on every byte, and every bit is covered by the signature.

The table of what is accepted and refused is tests/vectors/attestation_v1.json.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from piivault import attestation as sdk
from piivault.errors import AttestationError, ConfigurationError

from tests.vectors import generate
from vault.crypto import attestation
from vault.crypto.attestation import Attestation, Kind
from vault.names import from_base64url, to_base64url

Vector = dict[str, Any]
raw = bytes.fromhex
VECTORS: Vector = json.loads(
    (Path(generate.__file__).parent / "attestation_v1.json").read_text(encoding="utf-8")
)
KEYS = [VECTORS["public_key"]]
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = SIGNER.public_key().public_bytes_raw()


def each(name: str) -> Callable[[Any], Any]:
    vectors = VECTORS[name]
    return pytest.mark.parametrize("vector", vectors, ids=[v["name"] for v in vectors])


@each("accepted")
def test_the_server_writes_it_like_this(vector: Vector) -> None:
    public_key = from_base64url(VECTORS["public_key"])
    assert attestation.key_id(public_key) == raw(VECTORS["key_id"])
    kind = Kind[vector["kind"].upper()]
    payload = Attestation(kind, raw(vector["compartment"]), raw(vector["body"])).payload(public_key)
    assert payload == raw(vector["signed"])[:-64]
    assert attestation.to_sign(payload) == raw(vector["signed_bytes"])


@each("accepted")
def test_the_subjects_side_accepts_it(vector: Vector) -> None:
    said = sdk.verify(raw(vector["signed"]), KEYS, vector["kind"], raw(vector["compartment"]))
    assert (said.body, said.compartment) == (raw(vector["body"]), raw(vector["compartment"]))


@each("refused")
def test_the_subjects_side_refuses_it(vector: Vector) -> None:
    with pytest.raises(AttestationError):
        sdk.verify(raw(vector["signed"]), KEYS, vector["kind"], raw(vector["compartment"]))


def test_every_single_bit_counts() -> None:
    payload = Attestation(Kind.RECEIPT, bytes(16), b"body").payload(PUBLIC_KEY)
    signed = payload + SIGNER.sign(attestation.to_sign(payload))
    keys = [to_base64url(PUBLIC_KEY)]
    assert sdk.verify(signed, keys, "receipt").body == b"body"
    for bit in range(8 * len(signed)):
        changed = bytearray(signed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AttestationError):
            sdk.verify(bytes(changed), keys, "receipt")


@pytest.mark.parametrize("keys", [[], ["not a key"], [to_base64url(bytes(31))]])
def test_without_a_key_nothing_is_believed(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        sdk.verify(raw(VECTORS["accepted"][0]["signed"]), keys, "receipt")
