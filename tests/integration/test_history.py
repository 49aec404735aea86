"""History on a real house: who touched what, and how two officers take it back."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import piivault
import pytest
from piivault import errors
from piivault.officers import OfficersClient, Touches

from tests.command import piivault as run_piivault
from tests.house import House
from tests.officers import Officers
from tests.wire import wait_for
from vault.service.bodies import block_body, reset_body, touch_body
from vault.service.ledger import BLOCK, EDITION, RESET, TOUCH, UNBLOCK, Entry, statement
from vault.store.control import ChainRow, ControlChain, PendingRow
from vault.store.engine import connect

WEB = "  - {service: analytics, purpose: statistics, compartment: web, operations: [reveal]}\n"
ACCOUNTS = WEB.replace("statistics", "newsletter").replace("web", "accounts")


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


def looks_again(house: House, officers: Officers) -> None:
    """Touch the web once more, as soon as workers know of the reset."""

    def noted() -> bool:
        looks(house)
        return counting(house) == [("site_statistics", "web")]

    wait_for(noted)


def body_of(house: House, nonce: str = "1") -> bytes:
    """Write a reset of what `looks` does."""
    (touch,) = (t for t in touches(house).counting if t.compartment == "web")
    return reset_body(touch.owner_id, touch.compartment_uuid, "a new team", nonce)


def test_two_officers_take_a_touch_back_and_the_owner_may_be_moved(
    own: House, officers: Officers
) -> None:
    """What an edition was refused for isn't so any more; nothing published before changes."""
    looks(own)
    assert counting(own) == [("site_statistics", "web")]
    officers.change((WEB, ""))
    body = body_of(own)
    with pytest.raises(errors.InvalidRequest, match="isn't forgotten"):
        officers.change(("grants:\n", "grants:\n" + ACCOUNTS))
    assert not officers.approve(RESET, body, "aida", "aida").effective
    assert counting(own) == [("site_statistics", "web")]
    assert officers.approve(RESET, body, "bakyt").effective
    assert counting(own) == []
    (reset,) = touches(own).resets
    assert (reset.touch.owner, reset.touch.compartment, reset.reason) == (
        "site_statistics",
        "web",
        "a new team",
    )

    officers.change(("grants:\n", "grants:\n" + ACCOUNTS))
    person = own.register("accounts")
    accounts = own.client("analytics").compartment("accounts", purpose="newsletter")
    assert accounts.reveal(person.pseudonym, ["email"])
    assert counting(own) == [("site_statistics", "accounts")]
    officers.change((ACCOUNTS, ""))
    with pytest.raises(errors.InvalidRequest, match="isn't forgotten"):
        officers.change(("grants:\n", "grants:\n" + WEB))


def test_every_process_sees_a_reset(own: House, officers: Officers) -> None:
    """One that remembers the touch notes the next one all the same: it follows the chain."""
    looks(own)
    visit = own.register("web")
    with own.another_server() as address:
        environment = {**own.environment("analytics"), "PIIVAULT_ADDRESS": address}
        with piivault.Client.from_env(environment) as client:
            statistics = client.compartment("web", purpose="statistics")
            assert statistics.reveal(visit.pseudonym, ["user_agent"])
            assert officers.approve(RESET, body_of(own), "aida", "bakyt").effective
            assert counting(own) == []

            def noted() -> bool:
                assert statistics.reveal(visit.pseudonym, ["user_agent"])
                return counting(own) == [("site_statistics", "web")]

            wait_for(noted)


def test_an_edition_under_way_is_no_way_around(own: House, officers: Officers) -> None:
    """Reset, and read again before the owner is moved: the new touch counts."""
    looks(own)
    assert officers.approve(RESET, body_of(own), "aida", "bakyt").effective
    looks_again(own, officers)
    with pytest.raises(errors.InvalidRequest, match="isn't forgotten"):
        officers.change((WEB, ACCOUNTS))

    # Published before the new touch, and in force after it.
    assert officers.approve(RESET, body_of(own, "2"), "aida", "bakyt").effective
    moment = datetime.now(UTC) + timedelta(seconds=10)
    began = "in_force: 2026-01-01T00:00:00+06:00"
    text = officers.draft((WEB, ACCOUNTS), (began, f"in_force: {moment.isoformat()}"))
    assert officers.approve(EDITION, text.encode(), "aida").effective
    looks_again(own, officers)
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
    own, officers = sqlite_house, Officers(sqlite_house)
    looks(own)
    body = body_of(own)
    assert not officers.approve(RESET, body, "aida").effective
    signed = statement(signed_kind, body_of(own, signed_nonce))
    signature = officers.signs(officer, signed)
    with (
        OfficersClient.from_env(own.environment("officer-aida")) as control,
        pytest.raises(errors.InvalidRequest, match="doesn't hold"),
    ):
        control.approve(RESET, body, "bakyt", signature)
    assert ("site_statistics", "web") in counting(own)


def test_signatures_of_the_past_reset_nothing(own: House, officers: Officers) -> None:
    """Neither those that took effect, nor one that waited when another reset did."""
    looks(own)
    body, late = body_of(own), body_of(own, "late")
    assert not officers.approve(RESET, late, "bakyt").effective
    assert officers.approve(RESET, body, "aida", "bakyt").effective
    with OfficersClient.from_env(own.environment("officer-aida")) as control:
        assert control.pending() == []
    looks_again(own, officers)
    # It is said to be in effect: it was, once.
    assert officers.approve(RESET, body, "aida", "bakyt").effective
    assert not officers.approve(RESET, late, "aida").effective
    assert counting(own) == [("site_statistics", "web")]


def test_the_command_line_shows_history_and_resets_it(own: House, tmp_path: Path) -> None:
    """As docs/editions.md tells it."""

    def run(*arguments: str, officer: str = "aida") -> CompletedProcess[str]:
        return run_piivault(*arguments, environment=own.environment(f"officer-{officer}"))

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


def test_what_somebody_wrote_into_the_control_database_hinders_nobody(
    own: House, officers: Officers
) -> None:
    """A touch under an owner's name, and what waits and is nothing: passed over, and no more."""
    looks(own)
    (touch,) = touches(own).counting
    asyncio.run(_plant(own, touch_body("site_statistics", touch.compartment_uuid)))
    with OfficersClient.from_env(own.environment("officer-aida")) as control:
        assert control.pending() == []
        assert control.touches().counting == (touch,)
    block = block_body("support", "stolen", "1")
    assert officers.approve(BLOCK, block, "aida").effective


async def _plant(house: House, body: bytes) -> None:
    """Write as the database's administrator can."""
    database = connect(house.running.owner_urls["control"])
    chain = ControlChain(database)
    last = [
        Entry(r.sequence, r.previous, r.kind, r.body, r.signatures) for r in await chain.since(0)
    ][-1]
    assert await chain.append(ChainRow(last.sequence + 1, last.hash, TOUCH, body, b"{}"))
    for kind, content in (
        (TOUCH, b"\xff"),
        (RESET, b"nothing"),
        (EDITION, b"\xff"),
        ("forget", b"{}"),
    ):
        await chain.keep_pending(PendingRow(os.urandom(32), kind, content, b"\xff"))
    await database.close()
