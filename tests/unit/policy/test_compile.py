"""From text to edition: what is made of the example, and what is refused, with which sentence."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from vault.errors import Reason, VaultError
from vault.policy import (
    Basis,
    Edition,
    EditionError,
    FieldType,
    Form,
    Index,
    Limit,
    Operation,
    Retention,
    SubjectKind,
    compile_edition,
)

Make = Callable[[Callable[[Any], object]], str]
Change = Callable[[Any], object]

BISHKEK = timezone(timedelta(hours=6))


def test_the_example_says_what_the_clauses_ask(edition: Edition) -> None:
    """Clauses 1.1 g, 2.1 to 2.3 and 2.4 d, as compiled."""
    assert (edition.number, edition.predecessor) == (1, None)
    assert edition.posted == edition.in_force == datetime(2026, 1, 1, tzinfo=BISHKEK)
    assert edition.languages == ("ky", "ru", "en")
    assert list(edition.compartments) == ["accounts", "enterprises", "orders", "web"]
    accounts = edition.compartment("accounts")
    assert accounts.subjects == {SubjectKind.PERSON}
    required = [name for name, field in accounts.fields.items() if not field.voluntary]
    assert required == ["last_name", "first_name", "patronymic", "email", "phone"]
    assert [name for name, its in accounts.fields.items() if its.voluntary] == [
        "organisation",
        "city",
        "position",
    ]
    assert list(edition.joinable) == [frozenset({"accounts", "orders"})]
    assert {purpose.basis for purpose in edition.purposes.values()} == {Basis.CONSENT}


def test_fields_are_found_by_name_and_by_uid(edition: Edition) -> None:
    accounts = edition.compartment("accounts")
    email = accounts.field("email")
    assert (email.uid, email.type, email.index) == (4, FieldType.EMAIL, Index.UNIQUE)
    assert accounts.by_uid[4] is email
    assert len(accounts.uuid) == 16


def test_purposes_hold_retention_and_forms(edition: Edition) -> None:
    use = edition.purposes["account"].uses["accounts"]
    assert use.retention == Retention(3, "year")
    assert use.fields["email"].form is Form.MASKED
    assert use.fields["city"].form is Form.PRESENT


def test_services_are_known_by_their_spiffe_ids(edition: Edition) -> None:
    portal = edition.service_of("spiffe://oshto.kg/portal")
    assert portal is edition.services["portal"]
    assert portal is not None
    assert portal.subject_facing
    assert portal.owner_id == edition.owners["cabinet"]
    assert edition.service_of("spiffe://oshto.kg/nobody") is None


def test_a_service_may_act_only_for_subjects_who_are_there(edition: Edition, variant: Make) -> None:
    asking = compile_edition(variant(_asks("portal")))
    assert asking.services["portal"].require_subject_assertion
    assert not any(its.require_subject_assertion for its in edition.services.values())
    assert asking.digest != edition.digest


def test_what_is_unknown_is_not_repeated(edition: Edition) -> None:
    """A caller may have put a value where a name belongs."""
    with pytest.raises(VaultError) as compartment:
        edition.compartment("aigul@example.kg")
    with pytest.raises(VaultError) as field:
        edition.compartment("web").field("aigul@example.kg")
    assert compartment.value.reason is Reason.UNKNOWN_COMPARTMENT
    assert field.value.reason is Reason.UNKNOWN_FIELD
    assert "accounts, enterprises, orders, web" in compartment.value.message
    assert "cookie_id, user_agent" in field.value.message
    assert "aigul" not in compartment.value.message + field.value.message


def test_limits_are_numbers_or_none(variant: Make) -> None:
    def change(tree: Any) -> None:
        tree["services"]["orders"]["limits"] = {
            "reveal": {"per_second": 100, "per_day": 1_000_000},
            "put": {"per_second": 0.5},
        }

    assert compile_edition(variant(change)).services["orders"].limits == {
        Operation.REVEAL: Limit(100.0, 1_000_000),
        Operation.PUT: Limit(0.5, None),
    }


class TestDigest:
    def test_is_of_what_is_said_and_not_of_how_it_is_laid_out(
        self, text: str, edition: Edition, variant: Make
    ) -> None:
        assert compile_edition(variant(lambda tree: None)).digest == edition.digest
        assert compile_edition(f"# a comment\n{text}").digest == edition.digest
        assert len(edition.digest) == 32

    def test_is_the_same_where_a_default_is_spelt_out(
        self, edition: Edition, variant: Make
    ) -> None:
        def spell_out(tree: Any) -> None:
            tree["compartments"]["accounts"]["fields"]["email"]["voluntary"] = False

        assert compile_edition(variant(spell_out)).digest == edition.digest

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda t: t["law"].update(en="Another law"), id="a word"),
            pytest.param(
                lambda t: t["purposes"]["newsletter"].update(basis="contract"), id="basis"
            ),
            pytest.param(lambda t: t["grants"].pop(), id="one grant less"),
            pytest.param(lambda t: t.update(in_force="2027-01-01T00:00:00+06:00"), id="moment"),
        ],
    )
    def test_is_another_where_anything_is_said_otherwise(
        self, edition: Edition, variant: Make, change: Change
    ) -> None:
        assert compile_edition(variant(change)).digest != edition.digest


def _grant(service: str, purpose: str, compartment: str, *operations: str) -> Change:
    grant = {
        "service": service,
        "purpose": purpose,
        "compartment": compartment,
        "operations": list(operations) or ["reveal"],
    }
    return lambda tree: tree["grants"].append(grant)


def _forbid(**what: Any) -> Change:
    reason = {"ky": "a", "ru": "b", "en": "c"}
    return lambda tree: tree.update(forbid=[{**what, "reason": reason}])


def _asks(service: str) -> Change:
    return lambda tree: tree["services"][service].update(require_subject_assertion=True)


def _analytics_with_accounts_forbidden(tree: Any) -> None:
    _forbid(service="analytics", compartment="accounts")(tree)
    _grant("analytics", "services", "accounts")(tree)


def _portal_mate(tree: Any) -> None:
    tree["services"]["analytics"]["owner"] = "cabinet"


def _same_spiffe(tree: Any) -> None:
    tree["services"]["support"]["spiffe"] = tree["services"]["orders"]["spiffe"]


def _same_owner_id(tree: Any) -> None:
    tree["owners"]["helpdesk"]["id"] = tree["owners"]["cabinet"]["id"]


def _same_uuid(tree: Any) -> None:
    compartments = tree["compartments"]
    compartments["web"]["uuid"] = compartments["orders"]["uuid"]


def _same_owner(tree: Any) -> None:
    tree["services"]["analytics"]["owner"] = "press_office"


def _web_uid(tree: Any) -> None:
    tree["compartments"]["web"]["fields"]["user_agent"]["uid"] = 1


def _index_on_text(tree: Any) -> None:
    tree["compartments"]["web"]["fields"]["user_agent"]["index"] = "shared"


def _statistics_masked(tree: Any) -> None:
    tree["purposes"]["statistics"]["uses"]["web"]["fields"] = {"cookie_id": "masked"}
    tree["grants"][-1]["operations"] = ["put"]


def _join(*names: str) -> Change:
    reason = {"ky": "a", "ru": "b", "en": "c"}
    return lambda tree: tree["joinable"].append({"between": list(names), "reason": reason})


def _use(purpose: str, compartment: str, **fields: str) -> Change:
    use = {"retention": "1 day", "fields": fields}
    return lambda tree: tree["purposes"][purpose]["uses"].update({compartment: use})


REFUSED: dict[str, tuple[Change, str, str]] = {
    "posted before the years": (
        lambda t: t.update(posted="2000-01-01T05:00:00+06:00"),
        "posted",
        "outside the years 2000 to 2999",
    ),
    "posted where UTC has no day": (
        lambda t: t.update(posted="0001-01-01T00:00:00+06:00"),
        "posted",
        "outside the years 2000 to 2999",
    ),
    "in force after the years": (
        lambda t: t.update(in_force="2999-12-31T23:00:00-06:00"),
        "in_force",
        "outside the years 2000 to 2999",
    ),
    "in force where UTC has no day": (
        lambda t: t.update(in_force="9999-12-31T23:00:00-06:00"),
        "in_force",
        "outside the years 2000 to 2999",
    ),
    "a title of two lines": (
        lambda t: t["purposes"]["account"]["title"].update(en="An\naccount"),
        "purposes.account.title.en",
        "control characters",
    ),
    "a law that moves the cursor": (
        lambda t: t["law"].update(en="The law\x1b[2K"),
        "law.en",
        "control characters",
    ),
    "a description written backwards": (
        lambda t: t["purposes"]["account"]["description"].update(en="An \u202eaccount"),
        "purposes.account.description.en",
        "control characters",
    ),
    "a reason with an isolate": (
        lambda t: t["joinable"][0]["reason"].update(en="An \u2067order"),
        "joinable[0].reason.en",
        "control characters",
    ),
    "in force before it is posted": (
        lambda t: t.update(in_force="2025-12-31T00:00:00+06:00"),
        "in_force",
        "lies before posted",
    ),
    "a first edition with a predecessor": (
        lambda t: t.update(predecessor="0" * 64),
        "predecessor",
        "should be null in edition 1",
    ),
    "a second edition without predecessor": (
        lambda t: t.update(edition=2),
        "predecessor",
        "the digest of the edition before",
    ),
    "a text missing in one language": (
        lambda t: t["purposes"]["newsletter"]["description"].pop("ky"),
        "purposes.newsletter.description.ky",
        "is missing",
    ),
    "a text in a language too many": (
        lambda t: t["law"].update(de="Gesetz"),
        "law.de",
        "isn't a language of the edition",
    ),
    "a language without wording": (
        lambda t: t["languages"].append("de"),
        "languages[3]",
        "take some of en, ky, ru",
    ),
    "a language twice": (lambda t: t["languages"].append("ky"), "languages[3]", "stands twice"),
    "a field's uid twice": (
        _web_uid,
        "compartments.web.fields.user_agent.uid",
        "another field's uid",
    ),
    "a compartment's uuid twice": (_same_uuid, "compartments.web.uuid", "another compartment's"),
    "an owner's id twice": (_same_owner_id, "owners.helpdesk.id", "another owner's id"),
    "a SPIFFE id twice": (_same_spiffe, "services.support.spiffe", "another service's SPIFFE id"),
    "a SPIFFE id outside the trust domain": (
        lambda t: t["services"]["orders"].update(spiffe="spiffe://oshto.kg.example/orders"),
        "services.orders.spiffe",
        "begin it with spiffe://oshto.kg/",
    ),
    "an assertion of whom an internal service acts for": (
        _asks("orders"),
        "services.orders.require_subject_assertion",
        "orders acts for none",
    ),
    "an unknown owner": (
        lambda t: t["services"]["orders"].update(owner="mayor"),
        "services.orders.owner",
        "there is no owner mayor",
    ),
    "a subject kind twice": (
        lambda t: t["compartments"]["web"].update(subjects=["person", "person"]),
        "compartments.web.subjects[1]",
        "stands twice",
    ),
    "an index over what many share": (
        _index_on_text,
        "compartments.web.fields.user_agent.index",
        "isn't for values of type text",
    ),
    "an unknown compartment in a pair": (
        _join("orders", "taxes"),
        "joinable[1].between[1]",
        "there is no compartment taxes",
    ),
    "a compartment joinable with itself": (
        _join("web", "web"),
        "joinable[1].between",
        "name two",
    ),
    "a pair declared again the other way round": (
        _join("orders", "accounts"),
        "joinable[1]",
        "a second time",
    ),
    "a purpose that uses an unknown compartment": (
        _use("newsletter", "taxes", sum="plain"),
        "purposes.newsletter.uses.taxes",
        "there is no compartment taxes",
    ),
    "a purpose that uses an unknown field": (
        _use("newsletter", "orders", sum="plain"),
        "purposes.newsletter.uses.orders.fields.sum",
        "there is no field sum in the compartment orders",
    ),
    "an unknown recipient": (
        lambda t: t["purposes"]["services"].update(recipients=["courier"]),
        "purposes.services.recipients[0]",
        "there is no recipient courier",
    ),
    "a grant to an unknown service": (
        _grant("taxes", "services", "orders"),
        "grants[5].service",
        "there is no service taxes",
    ),
    "a grant for an unknown purpose": (
        _grant("orders", "taxes", "orders"),
        "grants[5].purpose",
        "there is no purpose taxes",
    ),
    "a grant in an unknown compartment": (
        _grant("orders", "services", "taxes"),
        "grants[5].compartment",
        "there is no compartment taxes",
    ),
    "a grant beyond its purpose": (
        _grant("newsletter", "newsletter", "orders"),
        "grants[5].compartment",
        "no grant exceeds its purpose",
    ),
    "the same grant twice": (
        _grant("orders", "services", "orders"),
        "grants[5]",
        "make it one grant",
    ),
    "an operation twice": (
        lambda t: t["grants"][0].update(operations=["reveal", "reveal"]),
        "grants[0].operations[1]",
        "stands twice",
    ),
    "put without a plain field": (
        _statistics_masked,
        "grants[4].operations[0]",
        "put needs a plain field",
    ),
    "find without an indexed field": (
        lambda t: t["grants"][1].update(operations=["find"]),
        "grants[1].operations[0]",
        "find needs an indexed field",
    ),
    "a grant to a subject-facing service": (
        _grant("portal", "account", "accounts"),
        "grants[5].service",
        "portal is subject-facing",
    ),
    "a subject-facing service whose owner owns another": (
        _portal_mate,
        "services.portal.owner",
        "give portal an owner of its own",
    ),
    "limits on who acts for subjects": (
        lambda t: t["services"]["portal"].update(limits={"reveal": {"per_day": 1}}),
        "services.portal.limits",
        "nobody subject-facing has",
    ),
    "a limit without a number": (
        lambda t: t["services"]["orders"].update(limits={"reveal": {}}),
        "services.orders.limits.reveal",
        "says no limit",
    ),
    "forbidding everything": (_forbid(operations=["put"]), "forbid[0]", "forbids everything"),
    "forbidding an unknown service": (
        _forbid(service="taxes"),
        "forbid[0].service",
        "there is no service taxes",
    ),
    "forbidding an unknown owner": (
        _forbid(owner="mayor"),
        "forbid[0].owner",
        "there is no owner mayor",
    ),
    "forbidding an unknown purpose": (
        _forbid(purpose="taxes"),
        "forbid[0].purpose",
        "there is no purpose taxes",
    ),
    "forbidding an unknown compartment": (
        _forbid(compartment="taxes"),
        "forbid[0].compartment",
        "there is no compartment taxes",
    ),
    "forbidding an unknown field": (
        _forbid(compartment="web", fields=["email"]),
        "forbid[0].fields[0]",
        "there is no field email in the compartment web",
    ),
    "forbidding fields of nothing": (
        _forbid(purpose="account", fields=["email"]),
        "forbid[0].fields",
        "name it, too",
    ),
    "forbidding a field twice": (
        _forbid(compartment="accounts", fields=["email", "email"]),
        "forbid[0].fields[1]",
        "stands twice",
    ),
    "forbidding an operation twice": (
        _forbid(owner="helpdesk", operations=["put", "put"]),
        "forbid[0].operations[1]",
        "stands twice",
    ),
    "forbidding who has no grants": (
        _forbid(service="portal"),
        "forbid[0].service",
        "subject-facing and has no grants",
    ),
    "forbidding a service under another owner": (
        _forbid(service="orders", owner="helpdesk"),
        "forbid[0].owner",
        "isn't the owner of orders",
    ),
    "forbidding without a reason in one language": (
        lambda t: t.update(forbid=[{"owner": "helpdesk", "reason": {"ky": "a", "ru": "b"}}]),
        "forbid[0].reason.en",
        "is missing",
    ),
    "a grant that joins what is forbidden besides": (
        _analytics_with_accounts_forbidden,
        "grants[5].compartment",
        "the service analytics would hold both accounts and web",
    ),
    "a service that would hold a forbidden pair": (
        _grant("analytics", "services", "accounts"),
        "grants[5].compartment",
        "the service analytics would hold both accounts and web",
    ),
    "an owner that would hold a forbidden pair": (
        _same_owner,
        "grants[4].compartment",
        "the owner press_office would hold both accounts and web",
    ),
}


@pytest.mark.parametrize(("change", "path", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused(variant: Make, change: Change, path: str, sentence: str) -> None:
    """Each rule refuses at the right place, with a sentence that says what to change."""
    with pytest.raises(EditionError) as refused:
        compile_edition(variant(change))
    [fault] = refused.value.faults
    assert fault.path == path
    assert sentence in fault.message
    assert fault.line is not None
    assert fault.line > 1


def test_all_refusals_come_at_once_and_in_the_order_of_the_text(variant: Make) -> None:
    several = [
        "in force before it is posted",
        "a text missing in one language",
        "a field's uid twice",
        "an unknown owner",
        "an unknown recipient",
        "a service that would hold a forbidden pair",
    ]

    def spoil(tree: Any) -> None:
        for name in several:
            REFUSED[name][0](tree)

    with pytest.raises(EditionError) as refused:
        compile_edition(variant(spoil))
    faults = refused.value.faults
    assert {fault.path for fault in faults} == {REFUSED[name][1] for name in several}
    lines = [fault.line or 0 for fault in faults]
    assert lines == sorted(lines)
    assert str(refused.value).startswith("The edition is refused, 6 faults:")
    assert all(str(fault) in str(refused.value) for fault in faults)


def test_one_more_grant_to_analytics_is_refused_by_name(text: str) -> None:
    """Clause 2.4 d: the service that counts visits never gets at accounts as well."""
    more = (
        "  - {service: analytics, purpose: services, compartment: accounts, operations: [reveal]}\n"
    )
    with pytest.raises(EditionError) as refused:
        compile_edition(text + more)
    [fault] = refused.value.faults
    assert all(name in fault.message for name in ("analytics", "accounts", "web"))
    assert fault.line == text.count("\n") + 1


def test_a_joinable_bridge_joins_only_its_ends(variant: Make) -> None:
    """accounts–orders and orders–web say nothing of accounts–web."""

    def bridge(tree: Any) -> None:
        _join("orders", "web")(tree)
        _use("services", "web", user_agent="plain")(tree)
        _grant("orders", "services", "web")(tree)

    with pytest.raises(EditionError) as refused:
        compile_edition(variant(bridge))
    [fault] = refused.value.faults
    assert "both accounts and web" in fault.message
