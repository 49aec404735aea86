"""What piivault relies upon in a key server, call by call: HashiCorp Vault's or OpenBao's Transit.

The table in docs/keys.md lists the calls. These tests know a server by its answers alone.
"""

import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.contract.server import Contract
from vault.keys.errors import (
    KeyNotFound,
    KeyServerError,
    KeyServerForbidden,
    KeyServerUnavailable,
    WrappedKeyRejected,
)
from vault.keys.key import transit_version
from vault.keys.login import AppRole, Token
from vault.keys.officer import TransitOfficer
from vault.keys.provision import app_role, officer_policy, transit_keys, worker_policy
from vault.keys.transit import Transit

CONTEXT, OTHER = b"piivault/contract/1", b"piivault/contract/2"
PLAIN = b"canary of the contract"

# Each key does what it is made for.


@pytest.mark.parametrize(
    "named", transit_keys(["contract"]).values(), ids=transit_keys(["contract"])
)
def test_a_key_is_as_it_was_asked_for_and_never_leaves(
    contract: Contract, named: dict[str, Any]
) -> None:
    """What `piivault setup` makes, and checks when it is run again."""
    key = contract.key(**named)
    found = contract.read(key)
    wanted = {name: value for name, value in named.items() if name != "key_size"}
    assert {name: found[name] for name in wanted} == wanted
    assert not found["deletion_allowed"]
    assert found["latest_version"] == 1
    assert found["min_available_version"] == 0
    with pytest.raises(KeyServerError):
        contract.admin.read(f"{contract.name}/export/encryption-key/{key}")
    with pytest.raises(KeyServerError):
        contract.admin.read(f"{contract.name}/backup/{key}")
    with pytest.raises(KeyServerError):  # deleting has to be allowed first
        contract.admin.delete(contract.path(key))
    assert contract.read(key)["latest_version"] == 1


def test_a_wrapped_key_is_drawn_and_opens_in_its_context_alone(contract: Contract) -> None:
    key, admin = contract.key(), contract.admin
    wrapped, again = (admin.new_wrapped_key(key, CONTEXT) for _ in range(2))
    assert wrapped != again
    assert wrapped.startswith("vault:v1:")  # OpenBao writes so too
    assert len(admin.unwrap(key, wrapped, CONTEXT)) == 32
    assert admin.unwrap(key, wrapped, CONTEXT) != admin.unwrap(key, again, CONTEXT)
    with pytest.raises(WrappedKeyRejected, match="wrong context"):
        admin.unwrap(key, wrapped, OTHER)


def test_what_is_encrypted_decrypts_and_is_never_the_same_twice(contract: Contract) -> None:
    key, admin = contract.key(), contract.admin
    sealed = admin.encrypt(key, PLAIN, CONTEXT)
    assert admin.decrypt(key, sealed, CONTEXT) == PLAIN
    assert admin.encrypt(key, PLAIN, CONTEXT) != sealed


def _altered(ciphertext: str) -> str:
    prefix, _, body = ciphertext.rpartition(":")
    return f"{prefix}:{body[:-8]}{'A' if body[-8] != 'A' else 'B'}{body[-7:]}"


REJECTED: dict[str, tuple[Callable[[Contract, str, str], Any], str]] = {
    "in another context": (lambda c, k, s: c.admin.decrypt(k, s, OTHER), "wrong context"),
    "altered": (lambda c, k, s: c.admin.decrypt(k, _altered(s), CONTEXT), "tampered with"),
    "under another key": (
        lambda c, k, s: c.admin.decrypt(c.key(), s, CONTEXT), "wrong context, or tampered"),
    "of a version that isn't there yet": (
        lambda c, k, s: c.admin.decrypt(k, s.replace("v1", "v9"), CONTEXT), "older snapshot"),
    "under a key that isn't there": (
        lambda c, k, s: c.admin.decrypt("key-nobody", s, CONTEXT), "the key isn't there"),
    "that is none": (lambda c, k, s: c.admin.decrypt(k, "none", CONTEXT), "refused"),
    "wrapped anew in another context": (
        lambda c, k, s: c.admin.rewrap(k, s, OTHER), "wrong context"),
}  # fmt: skip


@pytest.mark.parametrize(("attempt", "says"), REJECTED.values(), ids=REJECTED)
def test_a_ciphertext_is_rejected_and_why_is_told(
    contract: Contract, attempt: Callable[[Contract, str, str], Any], says: str
) -> None:
    key = contract.key()
    sealed = contract.admin.encrypt(key, PLAIN, CONTEXT)
    with pytest.raises(WrappedKeyRejected, match=says):
        attempt(contract, key, sealed)


def test_a_derived_key_wants_a_context(contract: Contract) -> None:
    key = contract.key()
    with pytest.raises(KeyServerError, match="refused"):
        contract.admin.encrypt(key, PLAIN, b"")


def test_an_hmac_is_of_version_1_whatever_was_rotated(contract: Contract) -> None:
    key, admin = contract.key(type="hmac", key_size=32), contract.admin
    before = admin.hmac(key, PLAIN)
    assert len(before) == 32
    admin.write(contract.path(key, "rotate"))
    assert admin.hmacs(key, [OTHER, PLAIN]) == [admin.hmac(key, OTHER), before]  # in their order
    fields = {"input": b64encode(PLAIN).decode()}
    newest = admin.write(f"{contract.name}/hmac/{key}", **fields)["data"]["hmac"]
    assert newest.startswith("vault:v2:")  # so pinning is what keeps it


def test_signatures_are_of_the_version_that_was_asked_for(contract: Contract) -> None:
    key, admin = contract.key(type="ed25519"), contract.admin
    admin.write(contract.path(key, "rotate"))
    public = {v: Ed25519PublicKey.from_public_bytes(k) for v, k in admin.public_keys(key).items()}
    assert set(public) == {1, 2}
    for version in (1, 2, None):
        signature, other = admin.signatures(key, [PLAIN, OTHER], version)
        assert signature == admin.sign(key, PLAIN, version)  # ed25519 draws nothing
        assert len(signature) == 64
        public[version or 2].verify(signature, PLAIN)
        public[version or 2].verify(other, OTHER)


def test_a_key_does_nothing_that_its_type_cannot(contract: Contract) -> None:
    signing, admin = contract.key(type="ed25519"), contract.admin
    with pytest.raises(KeyServerError):
        admin.encrypt(signing, PLAIN, CONTEXT)
    with pytest.raises(KeyServerError):
        admin.sign(contract.key(), PLAIN)
    with pytest.raises(KeyServerUnavailable):  # it has none
        admin.public_keys(contract.key())
    with pytest.raises(KeyNotFound):
        admin.public_keys("key-nobody")


# Rotation, as an officer does it.


def test_rewrapping_moves_a_ciphertext_to_the_newest_version(contract: Contract) -> None:
    key, officer = contract.key(), TransitOfficer(contract.admin)
    wrapped = contract.admin.new_wrapped_key(key, CONTEXT)
    plain = contract.admin.unwrap(key, wrapped, CONTEXT)
    assert officer.rotate(key) == 2
    anew = contract.admin.rewrap(key, wrapped, CONTEXT)
    assert (transit_version(wrapped), transit_version(anew)) == (1, 2)
    for either in (wrapped, anew):
        assert contract.admin.unwrap(key, either, CONTEXT) == plain


def test_retired_versions_open_nothing_for_ever(contract: Contract) -> None:
    key, officer, admin = contract.key(), TransitOfficer(contract.admin), contract.admin
    old = admin.encrypt(key, PLAIN, CONTEXT)
    officer.rotate(key)
    anew = admin.rewrap(key, old, CONTEXT)
    officer.retire(key, below=2)
    officer.retire(key, below=2)  # may be repeated
    assert officer.versions(key).oldest == 2
    with pytest.raises(WrappedKeyRejected, match="trimmed away"):
        admin.decrypt(key, old, CONTEXT)
    with pytest.raises(KeyServerError):  # and none comes back
        admin.write(contract.path(key, "config"), min_decryption_version=1)
    assert admin.decrypt(key, anew, CONTEXT) == PLAIN


def test_a_minimum_version_is_refused_until_it_is_lowered(contract: Contract) -> None:
    key, admin = contract.key(), contract.admin
    old = admin.encrypt(key, PLAIN, CONTEXT)
    admin.write(contract.path(key, "rotate"))
    with pytest.raises(KeyServerError):  # trimming wants both minimum versions first
        admin.write(contract.path(key, "trim"), min_available_version=2)
    admin.write(contract.path(key, "config"), min_decryption_version=2)
    with pytest.raises(WrappedKeyRejected, match="min_decryption_version"):
        admin.decrypt(key, old, CONTEXT)
    admin.write(contract.path(key, "config"), min_decryption_version=1)
    assert admin.decrypt(key, old, CONTEXT) == PLAIN


def test_a_key_that_is_deleted_is_gone(contract: Contract) -> None:
    key, admin = contract.key(), contract.admin
    sealed = admin.encrypt(key, PLAIN, CONTEXT)
    admin.write(contract.path(key, "config"), deletion_allowed=True)
    admin.delete(contract.path(key))
    with pytest.raises(WrappedKeyRejected, match="the key isn't there"):
        admin.decrypt(key, sealed, CONTEXT)
    with pytest.raises(KeyNotFound):
        contract.read(key)


def test_a_key_that_is_soft_deleted_is_told_where_that_is_known(contract: Contract) -> None:
    """OpenBao alone knows it, and piivault never asks for it: a server that doesn't, refuses."""
    key, admin = contract.key(), contract.admin
    sealed = admin.encrypt(key, PLAIN, CONTEXT)
    soft_delete = partial(admin.delete, contract.path(key, "soft-delete"))
    if contract.has_soft_delete(key):
        soft_delete()
        with pytest.raises(WrappedKeyRejected, match="soft-deleted"):
            admin.decrypt(key, sealed, CONTEXT)
        admin.write(contract.path(key, "soft-delete-restore"))
    else:
        with pytest.raises(KeyServerError):
            soft_delete()
    assert admin.decrypt(key, sealed, CONTEXT) == PLAIN


# Batches: piivault sends none, and would be told in part.


def test_a_batch_that_fails_in_part_is_refused_without_what_it_opened(contract: Contract) -> None:
    key, admin = contract.key(), contract.admin
    good = {"ciphertext": admin.encrypt(key, PLAIN, CONTEXT), "context": _text(CONTEXT)}
    batch = [good, {**good, "context": _text(OTHER)}]
    with pytest.raises(KeyServerError) as caught:
        admin.write(f"{contract.name}/decrypt/{key}", batch_input=batch)
    assert _text(PLAIN) not in f"{caught.value!r} {caught.value.__context__!r}"


# Policies.


def test_a_workers_policy_uses_its_keys_and_makes_none(contract: Contract) -> None:
    key, other = contract.key(), contract.key()
    worker = contract.under(worker_policy([key, "key-to-be"], contract.name))
    wrapped = worker.new_wrapped_key(key, CONTEXT)
    assert worker.unwrap(key, worker.rewrap(key, wrapped, CONTEXT), CONTEXT)
    assert worker.decrypt(key, worker.encrypt(key, PLAIN, CONTEXT), CONTEXT) == PLAIN
    forbidden: list[Callable[[], Any]] = [
        lambda: worker.new_wrapped_key(other, CONTEXT),
        lambda: worker.encrypt("key-to-be", PLAIN, CONTEXT),  # which `create` would make
        lambda: worker.write(contract.path("key-to-be"), type="aes256-gcm96"),
        lambda: worker.write(f"{contract.name}/datakey/plaintext/{key}", context=_text(CONTEXT)),
        lambda: worker.write(contract.path(key, "rotate")),
        lambda: worker.write(contract.path(key, "config"), deletion_allowed=True),
        lambda: worker.read(contract.path(key)),
        lambda: worker.delete(contract.path(key)),
    ]
    for attempt in forbidden:
        with pytest.raises(KeyServerError):
            attempt()
    with pytest.raises(KeyNotFound):
        contract.read("key-to-be")


def test_upserts_can_be_switched_off_for_all(contract: Contract) -> None:
    """So even a login with `create` makes no key by encrypting."""
    path = f"{contract.name}/config/keys"
    contract.admin.write(path, disable_upsert=True)
    assert contract.admin.read(path)["data"]["disable_upsert"] is True
    with pytest.raises(KeyServerError):
        contract.admin.encrypt("key-by-chance", PLAIN, CONTEXT)
    with pytest.raises(KeyNotFound):
        contract.read("key-by-chance")


def test_an_officers_policy_rotates_and_trims_and_opens_nothing(contract: Contract) -> None:
    names = ("piivault-town", "piivault-town.audit")
    for name in names:
        contract.admin.write(contract.path(name), type="aes256-gcm96", derived=True)
    login = contract.under(officer_policy(["town"], contract.name))
    officer = TransitOfficer(login)
    sealed = contract.admin.encrypt(names[0], PLAIN, CONTEXT)
    for name in names:
        assert officer.rotate(name) == 2
        officer.retire(name, below=2)
        assert officer.versions(name).oldest == 2
    forbidden: list[Callable[[], Any]] = [
        lambda: login.decrypt(names[0], sealed, CONTEXT),
        lambda: login.encrypt(names[0], PLAIN, CONTEXT),
        lambda: login.write(contract.path(names[0], "config"), deletion_allowed=True),
        lambda: login.write(contract.path(names[0], "config"), exportable=True),
        lambda: login.delete(contract.path(names[0])),
    ]
    for attempt in forbidden:
        with pytest.raises(KeyServerForbidden):
            attempt()


# Logins.


@pytest.fixture
def login(contract: Contract, tmp_path: Path) -> AppRole:
    """An AppRole as `piivault setup` makes it, for a key of its own, and its files."""
    key = contract.key()
    policy = contract.policy(worker_policy([key], contract.name))
    role = f"auth/{contract.name}/role/{tmp_path.name}"
    wanted = {**app_role(policy), "token_ttl": 2, "token_max_ttl": 60}
    contract.admin.write(role, **wanted)
    found = contract.admin.read(role)["data"]
    assert {name: found[name] for name in wanted} == wanted
    made = AppRole(tmp_path / "role-id", tmp_path / "secret-id", contract.name)
    made.role_id_file.write_text(contract.admin.read(f"{role}/role-id")["data"]["role_id"])
    made.secret_id_file.write_text(_secret_id(contract, role))
    (tmp_path / "key").write_text(key)
    return made


def _secret_id(contract: Contract, role: str) -> str:
    made: str = contract.admin.write(f"{role}/secret-id")["data"]["secret_id"]
    return made


def test_an_approle_logs_in_is_renewed_and_logs_in_anew(
    contract: Contract, login: AppRole, tmp_path: Path
) -> None:
    transit, key = contract.open(login), (tmp_path / "key").read_text()
    ends = time.monotonic() + 3  # longer than a token lives that isn't renewed
    while time.monotonic() < ends:
        assert transit.new_wrapped_key(key, CONTEXT)
        time.sleep(0.3)
    contract.admin.write(f"sys/leases/revoke-prefix/auth/{contract.name}/login")
    assert transit.new_wrapped_key(key, CONTEXT)


def test_a_secret_id_is_looked_up_and_once_revoked_is_refused(
    contract: Contract, login: AppRole, tmp_path: Path
) -> None:
    role, key = f"auth/{contract.name}/role/{tmp_path.name}", (tmp_path / "key").read_text()
    secret = login.secret_id_file.read_text()
    look_up = partial(contract.admin.write, f"{role}/secret-id/lookup", secret_id=secret)
    assert look_up()["data"]
    contract.admin.write(f"{role}/secret-id/destroy", secret_id=secret)
    assert not look_up().get("data")
    transit = contract.open(login)
    for _ in range(8):  # more than would lock the role out: it isn't tried again
        with pytest.raises(KeyServerForbidden, match="new secret id"):
            transit.new_wrapped_key(key, CONTEXT)
    login.secret_id_file.write_text(_secret_id(contract, role))
    assert transit.new_wrapped_key(key, CONTEXT)


def test_a_token_says_how_long_it_lives_and_one_that_is_none_is_forbidden(
    contract: Contract,
) -> None:
    token = contract.under(worker_policy([], contract.name))
    assert 0 < token.read("auth/token/lookup-self")["data"]["ttl"] <= 600
    with pytest.raises(KeyServerForbidden):
        contract.open(Token("none")).read("auth/token/lookup-self")


def test_its_seal_is_named_and_a_stranger_may_read_it(contract: Contract) -> None:
    stranger: Transit = contract.open(Token(""))
    said = stranger.read("sys/seal-status")
    assert said["sealed"] is False
    assert isinstance(said["type"], str)


def test_too_many_calls_are_unavailable_for_a_while(contract: Contract) -> None:
    quota = f"sys/quotas/rate-limit/{contract.name}"
    contract.admin.write(quota, path=f"{contract.name}/", rate=1, interval="60s")
    list_keys = partial(contract.admin.names, f"{contract.name}/keys")
    try:
        with pytest.raises(KeyServerUnavailable, match="too busy"):
            [list_keys() for _ in range(9)]
    finally:
        contract.admin.delete(quota)
    list_keys()  # it answers again


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
