"""What one process may hold together, edition by edition."""

import re
from collections.abc import Mapping

import pytest

from tests.house import POLICY
from tests.policies import successor
from vault.errors import Reason, VaultError
from vault.policy import Edition, compile_edition
from vault.roles import apart, while_joinable
from vault.service.call import PolicyState
from vault.service.ledger import Ledger

TEXT = POLICY.read_text(encoding="utf-8")
FIRST = compile_edition(TEXT)
UUIDS = {name: compartment.uuid for name, compartment in FIRST.compartments.items()}
PAIR = re.compile(
    r"\njoinable:\n.*?\n\n|\n[^\n]*compartment: accounts, operations: \[reveal\]\}", re.S
)
WITHOUT = compile_edition(PAIR.sub("\n", successor(TEXT)))
RENAMED = compile_edition(re.sub(r"\borders\b(?!:? \{owner|, purpose)", "parcels", successor(TEXT)))


@pytest.mark.parametrize(
    ("edition", "held", "says"),
    [
        (FIRST, {}, ""),
        (FIRST, {"web": UUIDS["web"]}, ""),
        (FIRST, {"accounts": UUIDS["accounts"], "orders": UUIDS["orders"]}, ""),
        (FIRST, {"accounts": UUIDS["accounts"], "web": UUIDS["web"]}, "accounts and web"),
        (FIRST, UUIDS, "accounts and web, enterprises and orders"),
        (FIRST, {"accounts": UUIDS["accounts"], "pets": bytes(16)}, "accounts and pets"),
        (FIRST, {"accounts": UUIDS["accounts"], "pets": b""}, "accounts and pets"),
        (FIRST, {"dogs": b"", "pets": b""}, "dogs and pets"),
        (FIRST, {"a": UUIDS["accounts"], "b": UUIDS["accounts"]}, "a and b"),
        (
            WITHOUT,
            {"accounts": UUIDS["accounts"], "orders": UUIDS["orders"]},
            "accounts and orders",
        ),
        (RENAMED, {"accounts": UUIDS["accounts"], "orders": UUIDS["orders"]}, ""),
    ],
    ids=[
        "nothing",
        "one",
        "a joinable pair",
        "a pair that isn't",
        "all",
        "one that no edition has",
        "one without a uuid",
        "two without a uuid",
        "one under two names",
        "a pair that was joinable",
        "a pair of which one was renamed",
    ],
)
def test_what_one_process_may_hold(edition: Edition, held: Mapping[str, bytes], says: str) -> None:
    """By uuid: what the configuration calls them doesn't matter."""
    found = " ".join(apart(held, edition))
    assert says in found
    assert bool(says) == bool(found)


def test_each_edition_is_judged_when_it_comes_in_force(caplog: pytest.LogCaptureFixture) -> None:
    """And once: the log names the fault once an edition, whoever asks how often."""
    in_force = FIRST
    held = {"accounts": UUIDS["accounts"], "orders": UUIDS["orders"]}
    state = while_joinable(lambda: PolicyState(in_force, Ledger({})), held)
    assert state().current is FIRST
    in_force = WITHOUT
    for _ in range(3):
        with pytest.raises(VaultError, match="Tell its operators") as refused:
            state()
        assert refused.value.reason is Reason.POLICY_UNAVAILABLE
    assert caplog.text.count("accounts and orders. Serve them from processes of their own") == 1
    in_force = FIRST
    assert state().current is FIRST
