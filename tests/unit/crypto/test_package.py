"""Packages: what the server seals, the subject's key opens; what was changed, it doesn't.

The table of what is opened and refused is tests/vectors/export_v1.json.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from piivault import errors, exports
from piivault.errors import AttestationError, ConfigurationError, PackageError
from piivault.export_keys import ExportKey as Pair
from piivault.export_keys import ExportKeys
from piivault.exports import Export, merge, open_package

from tests.vectors import generate
from vault.crypto import attestation, package
from vault.crypto.attestation import Attestation, Kind
from vault.crypto.export_key import ExportKey, Suite
from vault.crypto.package import Addressee
from vault.names import to_base64url

Vector = dict[str, Any]
raw = bytes.fromhex
VECTORS: Vector = json.loads(
    (Path(generate.__file__).parent / "export_v1.json").read_text(encoding="utf-8")
)
X25519, HYBRID = (Pair(its["suite"], raw(its["secret"])) for its in VECTORS["keys"])
SIGNING_KEYS = {"accounts": [VECTORS["signing_key"]]}


def _keys(pair: Pair) -> ExportKeys:
    return ExportKeys({"accounts": pair})


def _pair_of(opened: bytes) -> Pair:
    return HYBRID if opened[1:2] == b"\x02" else X25519


def _open(sealed: bytes) -> Export:
    return open_package(sealed, _keys(_pair_of(sealed)), SIGNING_KEYS)


ACCEPTED = pytest.mark.parametrize(
    "vector", VECTORS["accepted"], ids=[its["name"] for its in VECTORS["accepted"]]
)


@ACCEPTED
def test_a_frozen_package_opens(vector: Vector) -> None:
    opened = _open(raw(vector["package"]))
    assert opened.holdings == json.loads(vector["holdings"])
    assert (opened.salt, opened.attestation) == (raw(vector["salt"]), raw(vector["attestation"]))
    opened.verify(SIGNING_KEYS["accounts"])


@ACCEPTED
def test_the_server_writes_it_like_this(vector: Vector) -> None:
    """All but the ciphertext, in which there is chance: that one is opened once more."""
    frozen, holdings = raw(vector["package"]), vector["holdings"].encode()
    assert package.commitment(raw(vector["salt"]), holdings) == raw(vector["commitment"])
    key = ExportKey(Suite(frozen[1]), _pair_of(frozen).public.raw)
    addressee = Addressee(frozen[2:18], frozen[18:34], key)
    assert addressee.header == raw(vector["header"]) == frozen[:66]
    sealed = package.seal(addressee, raw(vector["salt"]), raw(vector["attestation"]), holdings)
    assert _open(sealed) == _open(frozen)
    assert sealed[66:] != frozen[66:]


@pytest.mark.parametrize(
    "vector", VECTORS["refused"], ids=[its["name"] for its in VECTORS["refused"]]
)
def test_a_package_is_refused(vector: Vector) -> None:
    with pytest.raises(getattr(errors, vector["error"])) as refused:
        _open(raw(vector["package"]))
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert "Айгүл" not in str(refused.value)


SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNING_KEY = to_base64url(SIGNER.public_key().public_bytes_raw())


def _sealed(name: str, pair: Pair, value: str = "Айгүл") -> bytes:
    uuid, request = name.encode().ljust(16), bytes(16)
    tree = {
        "request": {"id": request.hex(), "at": "", "key": pair.public.thumbprint},
        "compartment": {"uuid": uuid.hex(), "name": name},
        "fields": [{"value": value}],
        "kind": "piivault-export",
        "format": 1,
    }
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
    salt = package.new_salt()
    said = Attestation(Kind.EXPORT, uuid, package.commitment(salt, text))
    payload = said.payload(SIGNER.public_key().public_bytes_raw())
    signed = payload + SIGNER.sign(attestation.to_sign(payload))
    key = ExportKey(Suite.MLKEM768_X25519, pair.public.raw)
    return package.seal(Addressee(uuid, request, key), salt, signed, text)


def test_lengths_tell_little() -> None:
    """From nothing to a page of text it is one size; then one of few."""
    pair = Pair.new()
    sizes = {len(_sealed("accounts", pair, "ө" * length)) for length in (1, 10, 1000, 7000)}
    assert sizes == {66 + 1120 + 16 * 1024 + 16}
    assert len(_sealed("accounts", pair, "ө" * 9000)) == 66 + 1120 + 32 * 1024 + 16


def test_each_byte_in_clear_counts() -> None:
    keys = ExportKeys.new(["accounts"])
    good = _sealed("accounts", keys["accounts"])
    for at in (*range(66 + 4), len(good) - 1):
        changed = bytearray(good)
        changed[at] ^= 0x40
        with pytest.raises(PackageError):
            open_package(bytes(changed), keys, {"accounts": [SIGNING_KEY]})


def test_several_compartments_are_put_together() -> None:
    keys = ExportKeys.new(["orders", "accounts"])
    signing = {name: [SIGNING_KEY] for name in keys}
    opened = [open_package(_sealed(name, keys[name]), keys, signing) for name in keys]
    merged = merge(opened)
    assert (merged["kind"], merged["format"]) == ("piivault-merged-export", 1)
    names = [its["holdings"]["compartment"]["name"] for its in merged["exports"]]
    assert names == ["accounts", "orders"]
    with pytest.raises(PackageError, match="two exports of accounts"):
        merge([*opened, opened[1]])


def test_what_was_merged_still_proves_what_was_signed() -> None:
    keys = ExportKeys.new(["accounts"])
    opened = open_package(_sealed("accounts", keys["accounts"]), keys, {"accounts": [SIGNING_KEY]})
    [kept] = json.loads(json.dumps(merge([opened])))["exports"]
    again = exports.read_merged(merge([opened]))[0]
    assert (again, kept["holdings"]) == (opened, opened.holdings)
    again.verify([SIGNING_KEY])
    kept["holdings"]["fields"][0]["value"] = "Бакыт"
    with pytest.raises(AttestationError, match="other holdings"):
        exports.read_merged({"exports": [kept]})[0].verify([SIGNING_KEY])


NOT_MERGED: dict[str, Any] = {
    "nothing": {},
    "a list": [],
    "an export without its salt": {"exports": [{"holdings": {}, "attestation": ""}]},
    "holdings of nowhere": {"exports": [{"holdings": {}, "salt": "", "attestation": ""}]},
    "bytes that are none": {"exports": [{"holdings": {}, "salt": "?", "attestation": ""}]},
}


@pytest.mark.parametrize("tree", NOT_MERGED.values(), ids=NOT_MERGED)
def test_what_is_no_merged_export_is_refused(tree: Any) -> None:
    with pytest.raises(PackageError):
        exports.read_merged(tree)


def test_the_key_of_one_compartment_opens_no_others_export() -> None:
    """A relay that asks for orders with the key for accounts: two databases would know one key."""
    keys = ExportKeys.new(["orders", "accounts"])
    with pytest.raises(PackageError, match="isn't for the key that was made for orders"):
        open_package(_sealed("orders", keys["accounts"]), keys, {"orders": [SIGNING_KEY]})


def test_without_a_published_key_nothing_is_believed() -> None:
    keys = ExportKeys.new(["accounts"])
    with pytest.raises(ConfigurationError, match="No public key is known"):
        open_package(_sealed("accounts", keys["accounts"]), keys, {"orders": [SIGNING_KEY]})


def test_a_relays_own_key_is_told_from_a_fault() -> None:
    keys = ExportKeys.new(["accounts"])
    with pytest.raises(PackageError, match="somebody put in a key of their own"):
        open_package(_sealed("accounts", Pair.new()), keys, {"accounts": [SIGNING_KEY]})


def test_an_export_shows_nothing_where_it_is_printed() -> None:
    keys = ExportKeys.new(["accounts"])
    opened = open_package(_sealed("accounts", keys["accounts"]), keys, {"accounts": [SIGNING_KEY]})
    assert "Айгүл" not in repr(opened)
