"""Export keys: server and subject's side name each alike, and what is no key is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from piivault.errors import ConfigurationError
from piivault.export_keys import ExportKey as Pair
from piivault.export_keys import ExportKeys, PublicKey, Suite, read_public

from tests.vectors import generate
from vault.crypto.export_key import ExportKey
from vault.crypto.export_key import Suite as Number

SUITES: dict[Suite, Number] = {
    "X25519": Number.X25519,
    "MLKEM768-X25519": Number.MLKEM768_X25519,
}
KEYS = json.loads((Path(generate.__file__).parent / "export_v1.json").read_text())["keys"]
raw = bytes.fromhex


@pytest.mark.parametrize("vector", KEYS, ids=[vector["suite"] for vector in KEYS])
def test_a_key_is_written_and_named_like_this(vector: dict[str, Any]) -> None:
    public = Pair(vector["suite"], raw(vector["secret"])).public
    assert public == PublicKey(vector["suite"], raw(vector["public_key"]))
    assert public.jwk == vector["jwk"]
    assert public.digest == raw(vector["thumbprint"])
    served = ExportKey(SUITES[vector["suite"]], raw(vector["public_key"]))
    assert served.thumbprint == raw(vector["thumbprint"])
    served.public_key()


def test_a_thumbprint_is_the_one_that_rfc_8037_shows() -> None:
    """Its appendix A.3, in the same form: an OKP key by `crv`, `kty` and `x`."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    written = json.dumps(jwk, separators=(",", ":")).encode()
    shown = PublicKey("X25519", bytes(32)).jwk | {"x": jwk["x"], "crv": "Ed25519"}
    assert json.dumps(shown, sort_keys=True, separators=(",", ":")).encode() == written
    digest = hashlib.sha256(written).hexdigest()
    assert digest == "90facafea9b1556698540f70c0117a22ea37bd5cf3ed3c47093c1707282b4b89"


HYBRID = Pair.new().public.raw
NO_KEYS = {
    "no bytes": (Number.X25519, b""),
    "a byte too few": (Number.X25519, bytes(31)),
    "zero, a point of low order": (Number.X25519, bytes(32)),
    "one, a point of low order": (Number.X25519, b"\x01" + bytes(31)),
    "X25519's as the hybrid's": (
        Number.MLKEM768_X25519, X25519PrivateKey.generate().public_key().public_bytes_raw()),
    "the hybrid's as X25519's": (Number.X25519, HYBRID),
    "the hybrid's, a byte too many": (Number.MLKEM768_X25519, HYBRID + b"\0"),
    "coefficients above ML-KEM's modulus": (
        Number.MLKEM768_X25519, b"\xff" * 384 + HYBRID[384:]),
    "the hybrid's with a point of low order": (
        Number.MLKEM768_X25519, HYBRID[:1184] + bytes(32)),
}  # fmt: skip


@pytest.mark.parametrize(("suite", "key"), NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key_is_refused(suite: Number, key: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library's words differ
        ExportKey(suite, key).public_key()


def test_keys_come_back_from_what_they_were_written_as() -> None:
    keys = ExportKeys.new(["orders", "accounts"])
    kept = ExportKeys.read(keys.expose())
    assert kept.public == keys.public
    assert kept.expose() == keys.expose()
    assert read_public(keys.public_text()) == keys.public
    assert read_public(keys.expose()) == keys.public
    assert len({key.thumbprint for key in keys.public.values()}) == 2


def test_a_secret_is_shown_by_expose_alone() -> None:
    keys = ExportKeys.new(["accounts"])
    secret = keys["accounts"].expose()["priv"]
    shown = f"{keys} {keys!r} {keys['accounts']} {keys['accounts'].public!r} {keys.public_text()}"
    assert secret not in shown
    assert secret in keys.expose()


def _changed(**members: Any) -> str:
    tree = json.loads(ExportKeys.new(["accounts"], "X25519").expose())
    tree["keys"][0] |= members
    return json.dumps(tree)


UNREADABLE = {
    "nothing": "",
    "no JSON": "keys",
    "no set": "[]",
    "no keys": '{"keys": []}',
    "a public set": ExportKeys.new(["accounts"], "X25519").public_text(),
    "a key of another use": _changed(crv="Ed25519"),
    "a secret that isn't the public key's": _changed(d="A" * 43),
    "a secret that is too short": _changed(d="AAAA"),
    "a secret that is no text": _changed(d=7),
    "a secret with padding": _changed(d="A" * 43 + "="),
    "two for one compartment": json.dumps({"keys": 2 * json.loads(_changed())["keys"]}),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_set_of_keys_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        ExportKeys.read(text)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal has none: it reads public keys, and makes none."""
    public = ExportKeys.new(["accounts"]).public_text()
    monkeypatch.setattr("piivault._hpke._there", False)
    assert "accounts" in read_public(public)
    with pytest.raises(ConfigurationError, match=r"piivault\[subject\]"):
        Pair.new()
