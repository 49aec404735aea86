"""An officer's login at the key server: to rotate and to trim, to use no key and rule nothing.

What is legal is done to keys made for it, under a policy that is written as those of a
compartment are: what is trimmed away is gone for ever.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.key_server import FORBIDDEN, Caller, called_by
from tests.attack.key_server_paths import ELSEWHERE, INPUT, KEYS, ON_A_KEY
from tests.split import SplitHouse
from vault.keys.provision import officer_policy

NEVER_ROTATED = ("piivault-pseudonym", "piivault-audit", "piivault.broker")
READS = ("read", "read for a context")
OF_A_COMPARTMENT = (*READS, "rotate", "trim")
OF_CAPABILITIES = (*READS, "rotate")
ATTACKED = "piivault-attacked"


@pytest.fixture(scope="module")
def root(split_house: SplitHouse) -> Iterator[Caller]:
    with called_by(split_house, "root") as administrator:
        yield administrator


@pytest.fixture
def officer(split_house: SplitHouse) -> Iterator[Caller]:
    """One officer, as set up."""
    file = Path(split_house.environment("officer-aida")["PIIVAULT_TOKEN_FILE"])
    caller = Caller(split_house, file.read_text(encoding="ascii").strip())
    yield caller
    caller.close()


@pytest.fixture
def of_attacked(split_house: SplitHouse, root: Caller) -> Iterator[Caller]:
    """One officer of a compartment that nobody else uses."""
    for key in (ATTACKED, f"{ATTACKED}.audit"):
        made = {"type": "aes256-gcm96", "derived": True}
        assert root.ask("POST", f"transit/keys/{key}", made) == 200
    policy = {"policy": officer_policy(["attacked"])}
    assert root.ask("POST", "sys/policies/acl/attacked", policy) == 204
    fields = {"policies": ["attacked"], "no_default_policy": True}
    token = root.answer("POST", "auth/token/create", fields).json()["auth"]["client_token"]
    caller = Caller(split_house, token)
    yield caller
    caller.close()


def _legal(key: str) -> tuple[str, ...]:
    if key in NEVER_ROTATED:
        return ()
    return OF_CAPABILITIES if key == "piivault-capability" else OF_A_COMPARTMENT


def test_an_officer_uses_no_key(officer: Caller, attempts: Attempts) -> None:
    """Of every key all that can be done, but for what rotating takes; pseudonyms' none at all."""
    for key in KEYS:
        for use, (method, path, body) in ON_A_KEY.items():
            if use in _legal(key):
                continue
            status = officer.ask(method, "transit/" + path.format(key, key), body)
            assert status == FORBIDDEN, f"{use} {key}: {status}"
            attempts.record(Wall.KEYS, "use a key as an officer", f"{use} {key}", REFUSED)
        for use in (use for use in READS if use in _legal(key)):
            method, path, body = ON_A_KEY[use]
            assert officer.ask(method, "transit/" + path.format(key, key), body) == 200
            attempts.record(Wall.KEYS, "use a key as an officer", f"{use} {key}", CONTROL)


def test_an_officer_rules_no_key_server(of_attacked: Caller, attempts: Attempts) -> None:
    """Policies, logins, storage, certificates: by this policy none."""
    names = {"role": "piivault-broker", "own": "piivault-auditor"}
    for what, (method, path, body) in ELSEWHERE.items():
        status = of_attacked.ask(method, path.format(**names), body)
        assert status == FORBIDDEN, f"{what}: {status}"
        attempts.record(Wall.KEYS, "rule the key server", f"an officer: {what}", REFUSED)


def test_one_officer_can_trim_away_what_is_needed(
    of_attacked: Caller, root: Caller, attempts: Attempts
) -> None:
    """The commands refuse to trim what wraps something still; the key server can't know it."""
    plain = {"plaintext": INPUT, "context": INPUT}
    sealed = root.answer("POST", f"transit/encrypt/{ATTACKED}", plain).json()["data"]
    opened = {"ciphertext": sealed["ciphertext"], "context": INPUT}
    keys, decrypt = f"transit/keys/{ATTACKED}", f"transit/decrypt/{ATTACKED}"
    assert of_attacked.ask("POST", decrypt, opened) == FORBIDDEN
    assert of_attacked.ask("POST", f"{keys}/rotate") == 200
    assert root.ask("POST", decrypt, opened) == 200
    attempts.record(Wall.KEYS, "trim what is needed", "rotated alone", CONTROL)
    minimum = {"min_decryption_version": 2, "min_encryption_version": 2}
    assert of_attacked.ask("POST", f"{keys}/config", minimum) == 200
    assert of_attacked.ask("POST", f"{keys}/trim", {"min_available_version": 2}) in (200, 204)
    assert root.ask("POST", decrypt, opened) == 400
    lowered = {"min_decryption_version": 1, "min_encryption_version": 1}
    assert root.ask("POST", f"{keys}/config", lowered) == 400
    assert root.ask("POST", decrypt, opened) == 400
    attempts.record(Wall.KEYS, "trim what is needed", "and trimmed away", RESIDUAL)
