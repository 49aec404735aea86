"""History on a real house: who touched what, and how two officers take it back."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import piivault
import pytest
from piivault import errors
from piivault.officers import OfficersClient, Touches

from tests.house import House, run_house
from tests.office import Office
from tests.policies import successor
from vault.service.ledger import EDITION, RESET, UNBLOCK, reset_body, statement

WEB = "  - {service: analytics, purpose: statistics, compartment: web, operations: [reveal]}\n"
ACCOUNTS = WEB.replace("statistics", "newsletter").replace("web", "accounts")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    """A house of the test's own: what is touched there concerns nobody else."""
    with run_house(tmp_path / "state", postgres=False) as started:
        yield started


@pytest.fixture
def office(own: House) -> Office:
    """The officers of this house."""
    return Office(own)


def touches(house: House) -> Touches:
    """Ask control."""
    with OfficersClient.from_env(house.environment("officer-aida")) as control:
        return control.touches()


def counting(house: House) -> list[tuple[str, str]]:
    """Return what owners touched, by name."""
    return [(t.owner, t.compartment) for t in touches(house).counting]


def looks(house: House) -> None:
    """Have the owner of the statistics touch the web."""
    visit = house.register("web")
    statistics = house.client("analytics").compartment("web", purpose="statistics")
    assert statistics.reveal(visit.pseudonym, ["user_agent"])


def looks_again(house: House, office: Office) -> None:
    """Touch the web once more, as soon as workers know of the reset."""

    def noted() -> bool:
        looks(house)
        return counting(house) == [("site_statistics", "web")]

    office.wait_for(noted)


def body_of(house: House, nonce: str = "1") -> bytes:
    """Write a reset of what `looks` does."""
    (touch,) = (t for t in touches(house).counting if t.compartment == "web")
    return reset_body(touch.owner_id, touch.compartment_uuid, "a new team", nonce)


def test_two_officers_take_a_touch_back_and_the_owner_may_be_moved(
    own: House, office: Office
) -> None:
    """What an edition was refused for isn't so any more; nothing published before changes."""
    looks(own)
    assert counting(own) == [("site_statistics", "web")]
    office.publish((WEB, ""))
    body = body_of(own)
    before = office.text
    with pytest.raises(errors.InvalidRequest, match="isn't forgotten"):
        office.publish(("grants:\n", "grants:\n" + ACCOUNTS))
    office.text = before
    assert not office.approve(RESET, body, "aida", "aida")
    assert counting(own) == [("site_statistics", "web")]
    assert office.approve(RESET, body, "bakyt")
    assert counting(own) == []
    (reset,) = touches(own).resets
    assert (reset.touch.owner, reset.touch.compartment, reset.reason) == (
        "site_statistics",
        "web",
        "a new team",
    )

    office.publish(("grants:\n", "grants:\n" + ACCOUNTS))
    person = own.register("accounts")
    accounts = own.client("analytics").compartment("accounts", purpose="newsletter")
    assert accounts.reveal(person.pseudonym, ["email"])
    assert counting(own) == [("site_statistics", "accounts")]
    office.publish((ACCOUNTS, ""))
    with pytest.raises(errors.InvalidRequest, match="isn't forgotten"):
        office.publish(("grants:\n", "grants:\n" + WEB))


def test_every_process_sees_a_reset(own: House, office: Office) -> None:
    """One that remembers the touch notes the next one all the same: it follows the chain."""
    looks(own)
    visit = own.register("web")
    with own.another_server() as address:
        environment = {**own.environment("analytics"), "PIIVAULT_ADDRESS": address}
        with piivault.Client.from_env(environment) as client:
            statistics = client.compartment("web", purpose="statistics")
            assert statistics.reveal(visit.pseudonym, ["user_agent"])
            assert office.approve(RESET, body_of(own), "aida", "bakyt")
            assert counting(own) == []

            def noted() -> bool:
                assert statistics.reveal(visit.pseudonym, ["user_agent"])
                return counting(own) == [("site_statistics", "web")]

            office.wait_for(noted)


def test_an_edition_under_way_is_no_way_around(own: House, office: Office) -> None:
    """Reset, and read again before the owner is moved: the new touch counts."""
    looks(own)
    assert office.approve(RESET, body_of(own), "aida", "bakyt")
    looks_again(own, office)
    before = office.text
    with pytest.raises(errors.InvalidRequest, match="isn't forgotten"):
        office.publish((WEB, ACCOUNTS))
    office.text = before

    # Published before the new touch, and in force after it.
    assert office.approve(RESET, body_of(own, "2"), "aida", "bakyt")
    moment = datetime.now(UTC) + timedelta(seconds=4)
    began = "in_force: 2026-01-01T00:00:00+06:00"
    text = successor(office.text, (WEB, ACCOUNTS), (began, f"in_force: {moment.isoformat()}"))
    assert office.approve(EDITION, text.encode(), "aida")
    looks_again(own, office)
    person = own.register("accounts")
    accounts = own.client("analytics").compartment("accounts", purpose="newsletter")
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
    with pytest.raises(errors.PermissionDenied, match="touched web before"):
        accounts.reveal(person.pseudonym, ["email"])


@pytest.mark.parametrize(
    ("signed_kind", "signed_nonce", "officer"),
    [(UNBLOCK, "1", "bakyt"), (RESET, "2", "bakyt"), (RESET, "1", "aida"), (EDITION, "1", "bakyt")],
    ids=["for another kind", "for another reset", "the other officer's", "for an edition"],
)
def test_a_forged_second_signature_resets_nothing(
    sqlite_house: House, signed_kind: str, signed_nonce: str, officer: str
) -> None:
    """Handed in under the name of the second officer."""
    own, office = sqlite_house, Office(sqlite_house)
    looks(own)
    body = body_of(own)
    assert not office.approve(RESET, body, "aida")
    signed = statement(signed_kind, body_of(own, signed_nonce))
    signature = office.signs(officer, signed)
    with (
        OfficersClient.from_env(own.environment("officer-aida")) as control,
        pytest.raises(errors.InvalidRequest, match="doesn't hold"),
    ):
        control.approve(RESET, body, "bakyt", signature)
    assert ("site_statistics", "web") in counting(own)


def test_signatures_of_the_past_reset_nothing(own: House, office: Office) -> None:
    """Neither those that took effect, nor one that waited when another reset did."""
    looks(own)
    body, late = body_of(own), body_of(own, "late")
    assert not office.approve(RESET, late, "bakyt")
    assert office.approve(RESET, body, "aida", "bakyt")
    with OfficersClient.from_env(own.environment("officer-aida")) as control:
        assert control.pending() == []
    looks_again(own, office)
    assert office.approve(RESET, body, "aida", "bakyt")  # said to be in effect: it was, once
    assert not office.approve(RESET, late, "aida")
    assert counting(own) == [("site_statistics", "web")]


def test_the_command_line_shows_history_and_resets_it(own: House, tmp_path: Path) -> None:
    """As docs/editions.md tells it."""

    def run(*arguments: str, officer: str = "aida") -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("piivault")), *arguments]
        environment = {**os.environ, **own.environment(f"officer-{officer}")}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    again = ("history", "reset", "site_statistics", "web", "--reason", "a new team", "--yes")
    said = run("history", "show")
    assert "No owner has touched anything." in said.stdout, said.stderr
    said = run(*again)
    assert said.returncode == 1
    assert "site_statistics never touched web. See `piivault history show`." in said.stderr
    looks(own)
    said = run("history", "show")
    assert "site_statistics" in said.stdout, said.stderr
    said = run(*again[:-1])
    assert said.returncode == 130
    assert "What people saw, they remember." in said.stdout
    for _ in range(2):
        said = run(*again)
        assert "Publish one without these grants first." in said.stdout, said.stderr
        assert "approved by 1 of 2 officers. Another officer must run the same" in said.stdout
    with OfficersClient.from_env(own.environment("officer-aida")) as control:
        assert len(control.pending()) == 1
    said = run("policy", "approve", "--yes", officer="bakyt")
    words = "It counts no more that site_statistics touched web. Reason: a new team"
    assert words in said.stdout, said.stderr
    assert "in effect. Approved by aida, bakyt." in said.stdout
    said = run("history", "show")
    assert "reset: site_statistics touched web (a new team)" in said.stdout, said.stderr
    said = run(*again)
    assert said.returncode == 0
    assert "It doesn't count that site_statistics touched web: it was reset." in said.stdout
