"""Capabilities: every bit is covered by the signature, and nothing is believed before it.

The table of what is accepted and refused is tests/vectors/pseudonym_capability_v1.json.
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.crypto.capability import Capability, encode, key_id, to_sign, verify
from vault.errors import Reason, VaultError
from vault.names import Pseudonym, from_base64url, to_base64url

COMPARTMENT = b"accounts: 16 byt"
PORTAL = "spiffe://osh.example/portal"
NOW = 1_763_800_000
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = SIGNER.public_key().public_bytes_raw()
KEYS = {key_id(PUBLIC_KEY): PUBLIC_KEY}
HELD = Capability(COMPARTMENT, Pseudonym(b"pseudonym of Aigul".ljust(32)), PORTAL, NOW + 900)


def _token(signer: Ed25519PrivateKey = SIGNER) -> str:
    payload = HELD.payload(PUBLIC_KEY)
    return encode(payload, signer.sign(to_sign(payload)))


def test_it_says_whose_record_its_holder_may_act_on() -> None:
    assert verify(_token(), KEYS, COMPARTMENT, PORTAL, NOW) == HELD.pseudonym


def test_every_single_bit_counts() -> None:
    """Also those of the expiry and the holder: a changed one is invalid, never merely expired."""
    raw = from_base64url(_token().removeprefix("cap_"))
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VaultError) as refused:
            verify("cap_" + to_base64url(bytes(changed)), KEYS, COMPARTMENT, PORTAL, NOW)
        assert refused.value.reason is Reason.CAPABILITY_INVALID, f"bit {bit}"


def test_a_key_that_is_no_longer_pinned_signs_for_nothing() -> None:
    with pytest.raises(VaultError) as refused:
        verify(_token(), {}, COMPARTMENT, PORTAL, NOW)
    assert refused.value.reason is Reason.CAPABILITY_INVALID


def test_any_pinned_key_will_do() -> None:
    """Old and new stand side by side while the broker's key is rotated."""
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    assert verify(_token(), KEYS | {key_id(other): other}, COMPARTMENT, PORTAL, NOW)


def test_a_refusal_shows_neither_token_nor_subject_nor_holder() -> None:
    forger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    cases = [
        (_token(forger), PORTAL, NOW),
        (_token(), "spiffe://x/y", NOW),
        (_token(), PORTAL, 2e9),
    ]
    for token, holder, now in cases:
        with pytest.raises(VaultError) as refused:
            verify(token, KEYS, COMPARTMENT, holder, now)
        shown = str(refused.value) + repr(refused.value)
        for secret in (token[4:], str(HELD.pseudonym), holder, "spiffe"):
            assert secret not in shown


def test_its_repr_tells_neither_subject_nor_holder() -> None:
    assert str(HELD.pseudonym) not in repr(HELD)
    assert PORTAL not in repr(HELD)
