"""Every process's login at the key server against every key and whatever else is there.

Whatever isn't listed as legal must be forbidden: status 403 and no other.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.key_server import FORBIDDEN, Caller, called_by, ids_of, log_in, text
from tests.attack.key_server_paths import (
    DISGUISES,
    ELSEWHERE,
    INPUT,
    KEYS,
    LEGAL,
    LOGINS,
    ON_A_KEY,
    SEALED,
)
from tests.people import COMPARTMENTS
from tests.split import SplitHouse
from vault.crypto.primitives import join


@pytest.fixture(scope="module")
def callers(split_house: SplitHouse) -> Iterator[Mapping[str, Caller]]:
    """Every login, and nobody's."""
    with ExitStack() as stack:
        names = (*LOGINS, "root", "nobody")
        yield {name: stack.enter_context(called_by(split_house, name)) for name in names}


@pytest.mark.parametrize("process", [*LOGINS, "nobody"])
def test_a_login_is_good_for_its_own_keys(
    callers: Mapping[str, Caller], attempts: Attempts, process: str
) -> None:
    """Every key, and everything that can be done with a key."""
    legal = LEGAL.get(process, frozenset())
    for key in KEYS:
        for use, (method, path, body) in ON_A_KEY.items():
            status = callers[process].ask(method, "transit/" + path.format(key, key), body)
            cell = f"{process}: {use} {key}"
            if (key, use) in legal:
                # 400: it may, and what it asks to open isn't sealed.
                assert status == (400 if use.startswith(("decrypt", "rewrap")) else 200), cell
                attempts.record(Wall.KEYS, "use another's key", cell, CONTROL)
            else:
                assert status == FORBIDDEN, f"{cell}: {status}"
                attempts.record(Wall.KEYS, "use another's key", cell, REFUSED)


def test_each_operation_would_be_carried_out(
    callers: Mapping[str, Caller], attempts: Attempts
) -> None:
    """With the policies off, on keys that are for it: what is forbidden above is well formed."""
    root = callers["root"]
    may: dict[str, Any] = {"exportable": True, "allow_plaintext_backup": True}
    kinds: dict[str, dict[str, Any]] = {
        "aes": {"type": "aes256-gcm96", "derived": True},
        "plain": {"type": "aes256-gcm96"},
        "ed": {"type": "ed25519"},
        "rsa": {"type": "rsa-2048"},
    }
    for kind, fields in kinds.items():
        assert root.ask("POST", f"transit/keys/attack-{kind}", {**fields, **may}) == 200
    fields = {"plaintext": INPUT, "context": INPUT}
    sealed = root.answer("POST", "transit/encrypt/attack-aes", fields).json()["data"]
    opens = {"ciphertext": sealed["ciphertext"], "context": INPUT}
    hmac = root.answer("POST", "transit/hmac/attack-aes", {"input": INPUT}).json()["data"]
    assert root.ask("POST", "transit/keys/attack-aes/config", {"min_encryption_version": 1}) == 200
    assert root.ask("POST", "transit/keys/attack-ed/config", {"min_encryption_version": 1}) == 200
    bodies: Mapping[str, Mapping[str, Any]] = {
        "decrypt": opens,
        "decrypt a batch": {"batch_input": [opens]},
        "rewrap": opens,
        "verify": {"input": INPUT, "hmac": hmac["hmac"]},
    }
    for use, (method, path, body) in ON_A_KEY.items():
        sent = bodies.get(use, body)
        to = "attack-rsa" if use == "export wrapped" else ""
        statuses = [
            root.ask(method, "transit/" + path.format(f"attack-{kind}", to), sent) for kind in kinds
        ]
        assert any(200 <= status < 300 for status in statuses), f"{use}: {statuses}"
        attempts.record(Wall.KEYS, "use another's key", f"root: {use}", CONTROL)


@pytest.mark.parametrize("process", [*LOGINS, "nobody"])
def test_a_login_is_good_for_nothing_else(
    callers: Mapping[str, Caller], attempts: Attempts, process: str
) -> None:
    """No listing, no making, no policies, no logins, no storage, no certificates."""
    for other in (name for name in LOGINS if name != process):
        names = {"role": f"piivault-{other}", "own": f"piivault-{process}"}
        for what, (method, path, body) in ELSEWHERE.items():
            filled = _filled(body, names)
            status = callers[process].ask(method, path.format(**names), filled)
            assert status == FORBIDDEN, f"{process}: {what}: {status}"
            attempts.record(Wall.KEYS, "rule the key server", f"{process}: {what}", REFUSED)


def test_what_reads_would_be_answered(callers: Mapping[str, Caller], attempts: Attempts) -> None:
    """As root: the paths are there. Two aren't, where the server is well configured."""
    names = {"role": "piivault-broker", "own": "piivault-auditor"}
    off = {"read the storage", "list leases"}  # raw storage is off; no leases, nothing to list
    for what, (method, path, _) in ELSEWHERE.items():
        if method in ("GET", "LIST") and what not in off:
            status = callers["root"].ask(method, path.format(**names))
            assert status == 200, f"{what}: {status}"
            attempts.record(Wall.KEYS, "rule the key server", f"root: {what}", CONTROL)


@pytest.mark.parametrize("process", LOGINS)
def test_no_other_spelling_of_a_path_gets_through(
    callers: Mapping[str, Caller], attempts: Attempts, process: str
) -> None:
    """A policy names paths; a path that reads alike to the engine must read alike to it."""
    caller, legal = callers[process], LEGAL[process]
    for use, own in (("decrypt", "accounts"), ("hmac", "pseudonym"), ("sign", "capability")):
        for key in (k for k in KEYS if (k, use) not in legal):
            names = {"use": use, "key": key, "KEY": key.upper(), "rest": key[1:]}
            names["own"] = next((k for k, u in sorted(legal) if u == use), f"piivault-{own}")
            body = {**_sealed_under(callers["root"], key), "input": INPUT, "name": key}
            allowed = caller.answer("POST", "transit/{use}/{own}".format(**names), body)
            for disguise in DISGUISES:
                path = disguise.format(**names)
                answer = caller.answer("POST", path, body)
                if answer.status_code == 200:  # under its own key: no other gives the same
                    assert answer.json()["data"] == allowed.json()["data"], path
                else:
                    assert answer.status_code in (400, 403, 404), path
                attempts.record(Wall.KEYS, "spell a path otherwise", path, REFUSED)
    key, use = next(its for its in sorted(legal) if not its[1].startswith("read"))
    body = {**_sealed_under(callers["root"], key), "input": INPUT, "plaintext": INPUT}
    for spelled in (f"transit/{use}/{key}", f"transit/{use}/%70{key[1:]}"):
        assert caller.ask("POST", spelled, body) == 200, spelled
        attempts.record(Wall.KEYS, "spell a path otherwise", spelled, CONTROL)


def _sealed_under(root: Caller, key: str) -> Mapping[str, Any]:
    """Return what opens under a key, if it can seal: a wrong answer would be an answer."""
    answer = root.answer(
        "POST", f"transit/encrypt/{key}", {"plaintext": INPUT, "context": INPUT}
    ).json()
    if "data" not in answer:
        return SEALED
    return {"ciphertext": answer["data"]["ciphertext"], "context": INPUT}


def test_a_secret_id_is_good_for_its_own_role(split_house: SplitHouse, attempts: Attempts) -> None:
    """Role ids are no secrets, and mixed pairs don't log in; control has no login at all."""
    for one in LOGINS:
        role_id, own = ids_of(split_house, one)
        theirs = {other: ids_of(split_house, other)[1] for other in LOGINS if other != one}
        for what, wrong in {**theirs, "nothing": "", "its role id": role_id}.items():
            status = log_in(split_house, role_id, wrong).status_code
            assert status in (400, FORBIDDEN), f"{one} by {what}: {status}"
            attempts.record(Wall.KEYS, "mix two logins", f"{one} by {what}", REFUSED)
            # Forgives the attempt: five in a row would lock this login out.
            assert log_in(split_house, role_id, own).status_code == 200
        attempts.record(Wall.KEYS, "mix two logins", one, CONTROL)
    assert "piivault-control" not in split_house.running.app_roles
    for role_id in ("control", "piivault-control"):
        _, secret_id = ids_of(split_house, "broker")
        assert log_in(split_house, role_id, secret_id).status_code == 400
        attempts.record(Wall.KEYS, "mix two logins", f"{role_id} by broker", REFUSED)


def test_who_knows_a_role_id_can_lock_it_out(
    split_house: SplitHouse, callers: Mapping[str, Caller], attempts: Attempts
) -> None:
    """Five wrong secret ids: the key server's own guard against guessing, and no wall of ours."""
    root, role = callers["root"], "auth/approle/role/attack-locked"
    assert root.ask("POST", role, {"token_policies": ["none"]}) == 204
    role_id = root.answer("GET", f"{role}/role-id").json()["data"]["role_id"]
    secret_id = root.answer("POST", f"{role}/secret-id", {}).json()["data"]["secret_id"]
    assert log_in(split_house, role_id, secret_id).status_code == 200
    assert {log_in(split_house, role_id, "wrong").status_code for _ in range(6)} <= {400, FORBIDDEN}
    assert log_in(split_house, role_id, secret_id).status_code == FORBIDDEN
    attempts.record(Wall.KEYS, "lock a login out", "attack-locked", RESIDUAL)


def test_a_token_rules_no_other_token(
    split_house: SplitHouse, callers: Mapping[str, Caller], attempts: Attempts
) -> None:
    """Neither looked up, renewed nor revoked, by itself or by its accessor; one's own may be."""
    answer = log_in(split_house, *ids_of(split_house, "broker")).json()["auth"]
    token, accessor = {"token": answer["client_token"]}, {"accessor": answer["accessor"]}
    for process in (p for p in LOGINS if p != "broker"):
        for what in ("lookup", "renew", "revoke", "revoke-orphan"):
            assert callers[process].ask("POST", f"auth/token/{what}", token) == FORBIDDEN
            attempts.record(Wall.KEYS, "rule another's token", f"{process}: {what}", REFUSED)
        for what in ("lookup-accessor", "renew-accessor", "revoke-accessor"):
            assert callers[process].ask("POST", f"auth/token/{what}", accessor) == FORBIDDEN
            attempts.record(Wall.KEYS, "rule another's token", f"{process}: {what}", REFUSED)
    broker = Caller(split_house, answer["client_token"])
    assert broker.ask("GET", "auth/token/lookup-self") == 200
    assert broker.ask("POST", "auth/token/revoke-self") == 204
    assert broker.ask("GET", "auth/token/lookup-self") == FORBIDDEN
    broker.close()
    attempts.record(Wall.KEYS, "rule another's token", "broker: its own", CONTROL)


def test_a_wrapped_key_opens_for_whom_it_was_drawn(
    split_house: SplitHouse, callers: Mapping[str, Caller], attempts: Attempts
) -> None:
    """Stolen keyring rows, tried under each login with each key that it may use."""
    for compartment in COMPARTMENTS:
        uuid = split_house.edition.compartment(compartment).uuid
        rows = split_house.sql(compartment, "SELECT kind, field, version, wrapped FROM keyring")
        for kind, field, version, wrapped in rows:
            numbers = (field.to_bytes(4, "big"), version.to_bytes(4, "big"))
            context = text(join(b"piivault/v1/keyring", uuid, kind.encode(), *numbers))
            body = {"ciphertext": wrapped, "context": context}
            wrapper = f"piivault-{compartment}" + (".audit" if kind == "audit" else "")
            for process in LOGINS:
                for key in sorted({k for k, use in LEGAL[process] if use == "decrypt"}):
                    status = callers[process].ask("POST", f"transit/decrypt/{key}", body)
                    cell = f"{process}: {kind} key of {compartment} by {key}"
                    legal = key == wrapper
                    assert status == (200 if legal else 400), f"{cell}: {status}"
                    result = CONTROL if legal else REFUSED
                    attempts.record(Wall.KEYS, "open a stolen keyring", cell, result)


def _filled(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: [v.format(**names) if "{role}" in v else v for v in value]
        if isinstance(value, list)
        else value
        for key, value in body.items()
    }
