"""The authorization table against the service descriptors and against what the protos promise."""

import re
from pathlib import Path

import pytest

from tests.rpc.conftest import OFFICER
from tests.wire import METHODS
from vault.policy import Edition
from vault.rpc.authorization import ROWS, may_call
from vault.rpc.identity import Caller, identify

PROTOS = Path(__file__).parents[2] / "protos/piivault/v1"
_RPC = re.compile(r"((?:  //.*\n)+)  rpc (\w+)\(")
_SERVICE = re.compile(r"^service (\w+) ", re.MULTILINE)
_SAID = {
    "subject-facing services": {Caller.SUBJECT_FACING},
    "services with": {Caller.INTERNAL},
    "officers.": {Caller.OFFICER},
    "officers and services.": {Caller.OFFICER, Caller.INTERNAL, Caller.SUBJECT_FACING},
    "officers; services about themselves.": {
        Caller.OFFICER,
        Caller.INTERNAL,
        Caller.SUBJECT_FACING,
    },
}


# The policy is public, and PolicyService speaks of nothing else; nor is data in the trail, or keys.
NO_DATA = ("PolicyService", "AuditService", "KeyService", "RequestService")
MEETS_DATA = [m for m in METHODS if not any(name in m for name in NO_DATA)]


def _promised() -> dict[str, set[Caller]]:
    """Read who may call each RPC, as its comment says."""
    promised = {}
    for file in PROTOS.glob("*_service.proto"):
        text = file.read_text(encoding="utf-8")
        (service,) = _SERVICE.findall(text)
        for comment, method in _RPC.findall(text):
            (said,) = [said for said in _SAID if f"Who may call: {said}" in comment]
            promised[f"/piivault.v1.{service}/{method}"] = _SAID[said]
    return promised


def test_every_rpc_has_a_row_and_every_row_is_an_rpc() -> None:
    assert ROWS.keys() == METHODS.keys()


def test_every_row_says_what_the_rpc_documents() -> None:
    assert _promised() == ROWS


def test_a_subject_facing_service_has_nothing_in_common_with_others() -> None:
    """Where data is met, whoever may act for the subject has methods that nobody else has."""
    for method in MEETS_DATA:
        facing = ".RecordService/" not in method
        assert ROWS[method] == {Caller.SUBJECT_FACING if facing else Caller.INTERNAL}


def test_officers_meet_no_data() -> None:
    assert not [method for method in MEETS_DATA if may_call(method, Caller.OFFICER)]


def test_keys_are_officers_alone() -> None:
    found = [callers for method, callers in ROWS.items() if "KeyService" in method]
    assert set(found) == {frozenset({Caller.OFFICER})}


def test_strangers_may_call_nothing() -> None:
    assert not [method for method in METHODS if may_call(method, Caller.STRANGER)]


UNLISTED = (
    "/piivault.v1.RecordService/RevealAll",
    "/piivault.v1.recordservice/reveal",
    "piivault.v1.RecordService/Reveal",
    "/grpc.health.v1.Health/Check",
    "",
)


@pytest.mark.parametrize("method", UNLISTED)
@pytest.mark.parametrize("caller", Caller)
def test_a_method_without_a_row_is_nobodys(method: str, caller: Caller) -> None:
    assert not may_call(method, caller)


def test_who_is_who(edition: Edition) -> None:
    """Services by their SPIFFE ids, officers by the configuration, all others are strangers."""
    officers = frozenset({OFFICER})
    kinds = {s.name: identify(edition, officers, s.spiffe) for s in edition.services.values()}
    assert {name for name, (kind, _) in kinds.items() if kind is Caller.SUBJECT_FACING} == {
        "portal"
    }
    assert {kind for name, (kind, _) in kinds.items() if name != "portal"} == {Caller.INTERNAL}
    assert all(service is edition.services[name] for name, (_, service) in kinds.items())
    assert identify(edition, officers, OFFICER) == (Caller.OFFICER, None)
    assert identify(edition, officers, "spiffe://oshto.kg/nobody") == (Caller.STRANGER, None)
