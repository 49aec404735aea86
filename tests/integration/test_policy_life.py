"""Editions on live data: published, widened, narrowed, blocked, remembered, expired."""

import asyncio
import threading
import time
from pathlib import Path
from subprocess import CompletedProcess

import piivault
import pytest
from piivault import errors
from piivault.officers import OfficersClient
from piivault.v1 import record_service_pb2 as pb

from tests.command import piivault as run_piivault
from tests.house import POLICY, House
from tests.officers import Officers
from tests.policies import successor
from tests.wire import PATIENCE, is_ready, new_request_id, open_channel, wait_for
from vault import app
from vault.crypto.primitives import is_signed
from vault.dev.local import officer_signs, serving
from vault.keys.provision import provision, signing_transit_key
from vault.names import to_base64url
from vault.opening import StartError
from vault.service.bodies import block_body, unblock_body
from vault.service.ledger import BLOCK, EDITION, UNBLOCK, statement
from vault.store import schema
from vault.store.engine import connect
from vault.store.schema import Schema

NEWSLETTER = "        fields: {first_name: plain, email: plain}\n"
WIDER = "        fields: {last_name: plain, first_name: plain, email: plain}\n"
GRANT = "  - {service: analytics, purpose: %s, compartment: %s, operations: [reveal]}\n"
WEB = GRANT % ("statistics", "web")
ACCOUNTS = GRANT % ("newsletter", "accounts")
RECIPIENT = "recipients: {post: {title: {ky: Почта, ru: Почта, en: The post}}}\n"
NARROWER = "        fields: {first_name: plain}\n"


def reveal(house: House, pseudonym: str, *fields: str) -> piivault.Revealed:
    """Reveal to the newsletter service."""
    newsletter = house.client("newsletter").compartment("accounts", purpose="newsletter")
    return newsletter.reveal(pseudonym, fields)


def test_an_old_consent_does_not_stretch_over_a_wider_edition(
    own: House, officers: Officers
) -> None:
    """Clause 1.1 g: the intersection is given, the rest withheld until the subject agrees anew."""
    person = own.register("accounts", last_name="Токтогулова")
    officers.change((NEWSLETTER, WIDER))

    got = reveal(own, person.pseudonym, "email", "last_name")
    assert got["email"].expose() == person.values["email"]
    assert got.withheld == {"last_name"}
    with pytest.raises(errors.ConsentRequired, match="last_name"):
        got["last_name"]
    with pytest.raises(errors.ConsentRequired, match="last_name"):
        reveal(own, person.pseudonym, "last_name")
    asked = {c.purpose: c.ask_again for c in person.subject.view("accounts").consents}
    assert asked == {"account": False, "newsletter": True, "services": False}

    of = [person, own.register("accounts"), person]  # the second agreed to the wider one
    batch = pb.BatchRevealRequest(
        compartment="accounts",
        purpose="newsletter",
        pseudonyms=[its.pseudonym for its in of],
        fields=["last_name", "email"],
    )
    results = own.ask("newsletter", batch, request_id := new_request_id()).results
    assert [list(its.record.withheld) for its in results] == [["last_name"], [], ["last_name"]]
    given = [len(event.fields) for event in own.events("accounts", request_id)]
    assert given == [1, 2, 1]  # the trail has of each what it was given

    person.subject.grant("accounts", own.consents("accounts", {"newsletter"}))
    assert reveal(own, person.pseudonym, "last_name")["last_name"].expose() == "Токтогулова"
    assert not any(c.ask_again for c in person.subject.view("accounts").consents)


def test_a_narrower_edition_holds_at_once(own: House, officers: Officers) -> None:
    """What the edition no longer gives, no consent of the past does."""
    person = own.register("accounts")
    officers.change((NEWSLETTER, NARROWER))
    assert reveal(own, person.pseudonym, "first_name")
    with pytest.raises(errors.FieldBeyondPurpose):
        reveal(own, person.pseudonym, "email")


def test_a_consent_to_a_notice_of_the_past_is_refused(own: House, officers: Officers) -> None:
    """The subject must have been shown the edition in force."""
    old = own.consents("accounts")
    officers.change((NEWSLETTER, WIDER))
    with pytest.raises(errors.NoticeMismatch, match="in force is 2"):
        own.client("portal").subject(piivault.new_root()).register(
            "accounts", {**own.register("accounts").values, "email": "n@example.kg"}, old
        )


def test_a_blocked_service_is_refused_within_two_seconds(own: House, officers: Officers) -> None:
    """And served again only when two officers say so."""
    person = own.register("accounts")
    block = block_body("newsletter", "a stolen certificate", "nonce")
    assert officers.approve(BLOCK, block, "aida").effective

    def refused() -> bool:
        try:
            reveal(own, person.pseudonym, "email")
        except errors.ServiceBlocked:
            return True
        return False

    wait_for(refused)
    assert own.phone_of(person)  # nobody else is
    lifting = unblock_body(statement(BLOCK, block), "a new certificate")
    for _ in range(2):  # twice the same officer is one officer
        assert not officers.approve(UNBLOCK, lifting, "aida").effective
    with OfficersClient.from_env(own.environment("officer-bakyt")) as control:
        (waiting,) = control.pending()
        assert (waiting.kind, waiting.approved_by, waiting.needed) == (UNBLOCK, ("aida",), 2)
    assert officers.approve(UNBLOCK, lifting, "bakyt").effective
    wait_for(lambda: not refused())


@pytest.mark.parametrize(
    ("officer", "signer", "reason"),
    [
        ("aida", "bakyt", "doesn't hold"),
        ("nobody", "aida", "doesn't hold"),
    ],
)
def test_an_approval_with_another_signature_is_refused(
    own: House, officer: str, signer: str, reason: str
) -> None:
    """Each officer signs for themselves."""
    body = block_body("newsletter", "r", "1")
    signature = officer_signs(own.running, signer)(statement(BLOCK, body))
    with (
        OfficersClient.from_env(own.environment("officer-aida")) as control,
        pytest.raises(errors.InvalidRequest, match=reason),
    ):
        control.approve(BLOCK, body, officer, signature)


def test_what_an_owner_once_touched_counts_for_ever(own: House, officers: Officers) -> None:
    """Clause 2.4 d: taking a grant away and giving another doesn't make a join of two halves."""
    web = own.register("web")
    statistics = own.client("analytics").compartment("web", purpose="statistics")
    assert statistics.reveal(web.pseudonym, ["user_agent"])
    officers.change((WEB, ""))
    grants = "grants:\n"
    renamed = officers.draft((grants, grants + ACCOUNTS)).replace("site_statistics", "insights")
    with pytest.raises(errors.InvalidRequest, match="what was seen isn't forgotten"):
        officers.approve(EDITION, renamed.encode(), "aida")


def test_who_never_touched_may_be_moved(own: House, officers: Officers) -> None:
    """A grant that nobody used binds nobody."""
    officers.change((WEB, ""))
    person = own.register("accounts")
    officers.change(("grants:\n", "grants:\n" + ACCOUNTS))
    accounts = own.client("analytics").compartment("accounts", purpose="newsletter")
    assert accounts.reveal(person.pseudonym, ["email"])


def test_of_a_first_touch_and_a_publication_one_sees_the_other(
    own: House, officers: Officers
) -> None:
    """Raced: whatever wins, nobody ends with both halves."""
    web, person = own.register("web"), own.register("accounts")
    statistics = own.client("analytics").compartment("web", purpose="statistics")
    moved = officers.draft(
        ("purpose: statistics, compartment: web,", "purpose: newsletter, compartment: accounts,"),
    )
    outcomes: dict[str, bool] = {}

    def touch() -> None:
        try:
            statistics.reveal(web.pseudonym, ["user_agent"])
            outcomes["touched"] = True
        except errors.PermissionDenied:
            outcomes["touched"] = False

    def publish() -> None:
        try:
            outcomes["published"] = officers.approve(EDITION, moved.encode(), "aida").effective
        except errors.InvalidRequest:
            outcomes["published"] = False

    threads = [threading.Thread(target=work) for work in (touch, publish)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes["touched"] != outcomes["published"], outcomes
    assert person


def test_limits_of_the_edition_say_when_to_come_back(own: House, officers: Officers) -> None:
    """RESOURCE_EXHAUSTED with RetryInfo, per service and operation."""
    service = "  newsletter: {owner: press_office, spiffe: spiffe://oshto.kg/newsletter}\n"
    limited = service.replace("}\n", ", limits: {reveal: {per_day: 2}}}\n")
    person = own.register("accounts")
    officers.change((service, limited))
    reveal(own, person.pseudonym, "email")
    reveal(own, person.pseudonym, "email")
    with pytest.raises(errors.RateLimited) as caught:
        reveal(own, person.pseudonym, "email")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 24 * 3600 + 1
    assert own.phone_of(person)


def test_a_put_of_a_unique_field_counts_as_a_find(own: House, officers: Officers) -> None:
    """That a value is taken tells who is registered; what isn't unique tells nobody."""
    service = "  newsletter: {owner: press_office, spiffe: spiffe://oshto.kg/newsletter}\n"
    limited = service.replace("}\n", ", limits: {find: {per_day: 2}}}\n")
    may = "purpose: newsletter, compartment: accounts, operations: [reveal"
    officers.change((service, limited), (may, f"{may}, put"))
    person, other = own.register("accounts"), own.register("accounts", consents=[])
    newsletter = own.client("newsletter").compartment("accounts", purpose="newsletter")
    newsletter.put(person.pseudonym, {"email": "nobody@example.kg"})
    with pytest.raises(errors.ValueTaken):
        newsletter.put(person.pseudonym, {"email": other.values["email"]})
    with pytest.raises(errors.RateLimited, match="change a unique field no more often"):
        newsletter.put(person.pseudonym, {"email": other.values["email"]})
    newsletter.put(person.pseudonym, {"first_name": "Айгүл"})


EMPTY = """      city: {uid: 7,"""
CARD = """      card:
        {uid: 9, type: identifier, index: unique, voluntary: true,
         title: {ky: Карта, ru: Карта, en: Card}}
"""


def test_filling_an_empty_unique_field_is_no_guess_but_displacing_and_meeting_are(
    own: House, officers: Officers
) -> None:
    """So an import goes at its own speed, and a guess costs a record that is still empty."""
    service = "  newsletter: {owner: press_office, spiffe: spiffe://oshto.kg/newsletter}\n"
    may = "purpose: newsletter, compartment: accounts, operations: [reveal"
    officers.change(
        (service, service.replace("}\n", ", limits: {find: {per_day: 2}}}\n")),
        (EMPTY, CARD + EMPTY),
        (NEWSLETTER, NEWSLETTER.replace("}", ", card: plain}")),
        (may, f"{may}, put"),
    )
    newsletter = own.client("newsletter").compartment("accounts", purpose="newsletter")
    people = [own.register("accounts") for _ in range(5)]
    for number, person in enumerate(people):
        newsletter.put(person.pseudonym, {"card": f"card-{number}"})
        newsletter.put(person.pseudonym, {"card": f"card-{number}"})  # as it was
    first, second = (person.pseudonym for person in people[:2])
    with pytest.raises(errors.ValueTaken):
        newsletter.put(second, {"card": "card-0"})
    newsletter.put(first, {"card": None})
    with pytest.raises(errors.RateLimited, match="change a unique field"):
        newsletter.put(first, {"card": "card-1"})


def test_a_disclosure_names_its_recipient_and_leaves_a_receipt(
    own: House, officers: Officers
) -> None:
    """Clause 1.2: listed in the edition and told to the subject, or refused."""
    person = own.register("accounts")
    orders = own.client("orders").compartment("accounts", purpose="services")
    with pytest.raises(errors.RecipientNotAllowed):
        orders.reveal(person.pseudonym, ["phone"], recipient="post")
    services = "carries out your order and reaches you about it.\n    basis: consent\n"
    officers.change(
        (services, services + "    recipients: [post]\n"),
        ("recipients: {}\n", RECIPIENT),
    )
    with pytest.raises(errors.RecipientNotAllowed):
        orders.reveal(person.pseudonym, ["phone"], recipient="post")  # not told of it
    person.subject.grant("accounts", own.consents("accounts", {"services"}))
    assert orders.reveal(person.pseudonym, ["phone"], recipient="post")
    receipts = [e for e in own.trail("accounts").events if e.recipient]
    assert [(e.service, e.purpose, e.recipient) for e in receipts] == [
        ("orders", "services", "post")
    ]
    with pytest.raises(errors.RecipientNotAllowed):
        orders.reveal(person.pseudonym, ["phone"], recipient="somebody else")


def test_a_control_chain_that_was_cut_off_is_refused(own: House, officers: Officers) -> None:
    """Running processes stop deciding after the stated time, and say so; none starts on it."""
    person = own.register("accounts")
    with own.another_server(SERVER__EDITION_STALE_AFTER="5") as address:
        changed = {"PIIVAULT_ADDRESS": address, "PIIVAULT_TIMEOUT": str(PATIENCE)}
        with piivault.Client.from_env({**own.environment("newsletter"), **changed}) as client:
            newsletter = client.compartment("accounts", purpose="newsletter")
            assert newsletter.reveal(person.pseudonym, ["email"])
            own.sql("control", "DELETE FROM chain WHERE sequence > 1")
            time.sleep(6)
            with pytest.raises(errors.PolicyUnavailable, match="couldn't be confirmed"):
                newsletter.reveal(person.pseudonym, ["email"])
            with open_channel(address, own.tls("newsletter")) as channel:
                wait_for(lambda: not is_ready(channel))
    with pytest.raises(StartError, match="cut off or replaced"), serving(own.configured()):
        pass


def test_the_command_line_tells_officers_what_they_do(own: House, tmp_path: Path) -> None:
    """`piivault policy` and `piivault service`, as the README shows them."""
    file = tmp_path / "next.yaml"
    file.write_text(successor(POLICY.read_text(encoding="utf-8"), (NEWSLETTER, WIDER)), "utf-8")

    def run(*arguments: str, officer: str = "aida") -> CompletedProcess[str]:
        return run_piivault(*arguments, environment=own.environment(f"officer-{officer}"))

    said = run("policy", "diff", str(file))
    assert "doesn't cover" in said.stdout, said.stderr
    assert "newsletter" in said.stdout
    said = run("policy", "publish", str(file), "--yes")
    assert "edition 2: in effect. Approved by aida." in said.stdout, said.stderr
    assert "edition: 2" in run("policy", "show", "2").stdout
    said = run("policy", "explain", "orders", "services", "accounts", "email")
    assert said.stdout.strip().endswith("denied")
    said = run("service", "block", "orders", "--reason", "stolen", "--yes")
    assert "block of orders: in effect" in said.stdout, said.stderr
    said = run("service", "unblock", "orders", "--reason", "new", "--yes")
    assert "approved by 1 of 2 officers" in said.stdout, said.stderr
    said = run("policy", "approve", "--yes", officer="bakyt")
    assert "in effect. Approved by aida, bakyt." in said.stdout, said.stderr
    said = run("service", "block", "nobody", "--reason", "x", "--yes")
    assert said.returncode == 1
    assert "no such service" in said.stderr
    assert "Traceback" not in said.stderr


def command(house: House, *arguments: str) -> CompletedProcess[str]:
    """Run `piivault` as the officer Аида, with the house's configuration."""
    environment = {
        **house.environment("officer-aida"),
        "PIIVAULT_CONFIG": str(house.running.config),
    }
    return run_piivault(*arguments, environment=environment)


def test_an_auditor_is_told_why_a_past_request_was_decided(own: House, officers: Officers) -> None:
    """By the trail, and by the rules of the edition of that time."""
    person = own.register("accounts")
    orders = own.client("orders").compartment("accounts", purpose="services")
    with pytest.raises(errors.FieldBeyondPurpose) as refused:
        orders.reveal(person.pseudonym, ["email"])
    services = "fields: {last_name: plain, first_name: plain, phone: plain}"
    officers.change((services, services.replace("}", ", email: plain}")))
    said = command(own, "policy", "explain", "--request", refused.value.request_id)
    assert said.returncode == 0, said.stderr
    for part in (
        "edition 1",
        "orders",
        "email",
        "denied FIELD_BEYOND_PURPOSE",
        "doesn't see email",
    ):
        assert part in " ".join(said.stdout.split()), said.stdout
    said = command(own, "policy", "explain", "--request", "00000000-0000-0000-0000-000000000000")
    assert "No trail that you may read holds this request id" in said.stderr


def test_removing_a_purpose_says_how_much_falls_due(own: House, tmp_path: Path) -> None:
    """Counted on the records themselves, without a value shown."""
    for _ in range(3):
        own.register("accounts", city="Ош")
    own.register("accounts")
    file = tmp_path / "next.yaml"
    cities = ("          city: present\n", "")
    file.write_text(successor(POLICY.read_text(encoding="utf-8"), cities), encoding="utf-8")
    said = command(own, "policy", "due", str(file))
    assert "accounts: 4 records; falls due: city: 3" in said.stdout, said.stderr
    assert "web: 0 records; falls due: nothing" in said.stdout


PETS = """
  pets:
    uuid: 0a6e5d4c-3b2a-4190-8f7e-6d5c4b3a2910
    title: {ky: Үй жаныбарлары, ru: Питомцы, en: Pets}
    subjects: [person]
    fields:
      name: {uid: 1, type: name, title: {ky: Аты, ru: Кличка, en: Name}}

# 2.4 d: databases"""


def test_a_new_compartment_is_provisioned_first_and_published_then(
    own: House, officers: Officers, tmp_path: Path
) -> None:
    """On live data, without a restart of what runs."""
    new = ("\n# 2.4 d: databases", PETS)
    with pytest.raises(errors.InvalidRequest, match="isn't provisioned"):
        officers.change(new)

    ids = provision(own.running.admin, [*own.edition.compartments, "pets"])["piivault-worker-pets"]
    (tmp_path / "role").write_text(ids.role_id)
    (tmp_path / "secret").write_text(ids.secret_id)
    signing = signing_transit_key("pets")
    keys = own.running.admin.public_keys(signing)
    url = f"sqlite+aiosqlite:///{tmp_path}/pets.db"
    settings = own.configured(
        COMPARTMENTS__PETS__UUID="0a6e5d4c-3b2a-4190-8f7e-6d5c4b3a2910",
        COMPARTMENTS__PETS__DATABASE__URL=url,
        COMPARTMENTS__PETS__TRANSIT_KEY="piivault-pets",
        COMPARTMENTS__PETS__AUDIT_TRANSIT_KEY="piivault-pets.audit",
        COMPARTMENTS__PETS__SIGNING_TRANSIT_KEY=signing,
        COMPARTMENTS__PETS__LOGIN__METHOD="approle",
        COMPARTMENTS__PETS__LOGIN__ROLE_ID_FILE=str(tmp_path / "role"),
        COMPARTMENTS__PETS__LOGIN__SECRET_ID_FILE=str(tmp_path / "secret"),
    )
    pinned = tuple(to_base64url(key) for key in keys.values())
    pets = settings.compartments["pets"].model_copy(update={"signing_keys": pinned})
    settings = settings.model_copy(update={"compartments": {**settings.compartments, "pets": pets}})

    async def provisioned() -> None:
        database = connect(url)
        await schema.upgrade(database, Schema.COMPARTMENT)
        await database.close()
        async with app.opened(settings, "pets"):
            pass

    asyncio.run(provisioned())
    officers.change(new)


def test_an_officer_signs_with_a_transit_key(house: House, tmp_path: Path) -> None:
    """Under the officer's own login; what comes out is what a key file would have signed."""
    admin = house.running.admin
    admin.write("transit/keys/officer-aida", type="ed25519")
    rule = 'path "transit/sign/officer-aida" {\n  capabilities = ["update"]\n}\n'
    admin.write("sys/policies/acl/officer-aida", policy=rule)
    made = admin.write("auth/token/create", policies=["officer-aida"], ttl="10m")
    (tmp_path / "token").write_text(made["auth"]["client_token"])
    environment = {
        "PIIVAULT_OFFICER": "aida",
        "PIIVAULT_SIGNING_KEY": "transit:officer-aida",
        "PIIVAULT_KEY_SERVER": house.running.key_server,
        "PIIVAULT_KEY_SERVER_CA": str(house.running.key_server_ca),
        "PIIVAULT_TOKEN_FILE": str(tmp_path / "token"),
    }
    said = run_piivault("policy", "sign", POLICY, environment=environment)
    officer, _, signature = said.stdout.strip().partition(":")
    assert officer == "aida", said.stderr
    (public_key,) = admin.public_keys("officer-aida").values()
    signed = statement(EDITION, POLICY.read_bytes())
    assert is_signed(public_key, bytes.fromhex(signature), signed)
