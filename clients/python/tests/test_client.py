"""What each method sends and returns, on both clients; and what is refused unsent."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from piivault import Consent, Form, RootId, Secret, errors, new_root
from piivault.export_keys import ExportKeys
from piivault.v1 import record_service_pb2 as record_pb
from piivault.v1 import subject_service_pb2 as subject_pb
from piivault.v1 import types_pb2

from .house import PSEUDONYM, House, Sdk, erased, etag, issued, record, refusal

EXPORT = types_pb2.SubjectRequest(
    id=bytes(16),
    kind=types_pb2.REQUEST_KIND_EXPORT,
    state=types_pb2.REQUEST_STATE_OPEN,
    opened="2026-11-22",
    due="2026-11-29",
)

# Requests and answers


def test_a_reveal_asks_for_one_purpose_and_gives_secrets(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    response = record(phone="+996555123456", city=None)
    response.fields.add(name="email", form=types_pb2.FORM_MASKED, present=True, value="a***@e***")
    response.fields.add(name="tax_id", form=types_pb2.FORM_PRESENT, present=True)
    house.answer("Reveal", response)
    got = sdk.do(accounts.reveal(PSEUDONYM, ["phone", "city", "email", "tax_id"]))
    assert house.seen[0].request == record_pb.RevealRequest(
        compartment="accounts",
        purpose="services",
        pseudonym=PSEUDONYM,
        fields=["phone", "city", "email", "tax_id"],
    )
    assert dict(got) == {"phone": Secret("+996555123456"), "email": Secret("a***@e***")}
    assert got.forms["email"] is Form.MASKED
    assert (got.present("tax_id"), got.present("city")) == (True, False)
    assert (got.etag, got.edition) == ("e1", 3)


def test_a_put_sets_values_and_removes_those_given_as_none(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    house.answer("Put", etag(record_pb.RecordServicePutResponse))
    values = {"phone": "+996555123456", "city": None}
    assert sdk.do(accounts.put(PSEUDONYM, values, etag="e1")) == "e2"
    request = house.seen[0].request
    assert [(field.name, field.value) for field in request.fields] == [("phone", "+996555123456")]
    assert (list(request.clear), request.etag) == (["city"], "e1")


def test_describe_tells_what_the_purpose_sees(sdk: Sdk, house: House, accounts: Any) -> None:
    field = record_pb.FieldDescription(
        name="email", type="email", form=types_pb2.FORM_MASKED, findable=True
    )
    house.answer(
        "Describe",
        record_pb.DescribeResponse(edition=3, operations=["find", "reveal"], fields=[field]),
    )
    got = sdk.do(accounts.describe())
    assert (got.edition, got.operations) == (3, {"find", "reveal"})
    email = got.fields[0]
    assert (email.name, email.type, email.form) == ("email", "email", Form.MASKED)
    assert (email.voluntary, email.findable) == (False, True)


@pytest.mark.parametrize(
    ("found", "one"), [([PSEUDONYM], PSEUDONYM), ([], None)], ids=["one", "none"]
)
def test_find_gives_the_pseudonym_or_none(
    sdk: Sdk, house: House, accounts: Any, found: list[str], one: str | None
) -> None:
    absent = refusal(grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    house.answer("Find", record_pb.FindResponse(pseudonyms=found) if found else absent)
    assert sdk.do(accounts.find(email="aigul@example.kg")) == one
    assert sdk.do(accounts.find_all(email="aigul@example.kg")) == found
    field = house.seen[0].request.field
    assert (field.name, field.value) == ("email", "aigul@example.kg")


def test_find_refuses_to_choose_among_several(sdk: Sdk, house: House, accounts: Any) -> None:
    several = [PSEUDONYM, "psn_" + "B" * 43]
    house.answer("Find", record_pb.FindResponse(pseudonyms=several))
    with pytest.raises(errors.AmbiguousError, match="find_all"):
        sdk.do(accounts.find(phone="+996555123456"))
    assert sdk.do(accounts.find_all(phone="+996555123456")) == several


def test_notices_are_shown_and_accepted(sdk: Sdk, house: House, vault: Any) -> None:
    notice = types_pb2.Notice(
        purpose="services", edition=3, language="ky", text="…", digest=b"d", consent_needed=True
    )
    house.answer("ListNotices", subject_pb.ListNoticesResponse(notices=[notice]))
    (shown,) = sdk.do(vault.notices("accounts", "ky"))
    assert (shown.text, shown.purpose, shown.consent_needed) == ("…", "services", True)
    assert shown.accept() == Consent("services", 3, "ky", b"d")
    assert not house.calls("Issue")  # a notice needs no capability


def test_an_export_carries_the_key_that_the_broker_was_shown(
    sdk: Sdk, house: House, vault: Any
) -> None:
    """Under a capability of its own, whatever was issued before; with the export's assertion."""
    key = ExportKeys.new(["accounts"]).public["accounts"]
    house.answer("View", subject_pb.ViewResponse())
    house.answer("Issue", issued("cap_1"), issued("cap_2"))
    house.answer("Export", subject_pb.ExportResponse(package=b"p", request=EXPORT))
    subject = vault.subject(new_root(), assertion="their own")
    sdk.do(subject.view("accounts"))
    answer = sdk.do(subject.export("accounts", key, assertion="for this key"))
    assert (answer.package, answer.request.kind, answer.request.due.day) == (b"p", "export", 29)
    acting, exporting = (seen.request for seen in house.calls("Issue"))
    assert (acting.export_key, acting.subject_assertion) == (b"", "their own")
    assert (exporting.export_key, exporting.subject_assertion) == (key.digest, "for this key")
    [seen] = house.calls("Export")
    assert seen.request == subject_pb.ExportRequest(
        compartment="accounts",
        capability="cap_2",
        suite=subject_pb.EXPORT_SUITE_MLKEM768_X25519,
        public_key=key.raw,
    )
    sdk.do(subject.view("accounts"))
    assert house.calls("View")[-1].request.capability == "cap_1"


def test_an_export_is_to_a_public_key_alone(sdk: Sdk, house: House, vault: Any) -> None:
    """A pair in its place would send the secret's holder into the portal."""
    pair = ExportKeys.new(["accounts"])["accounts"]
    with pytest.raises(errors.InvalidRequest, match="sealed to a PublicKey"):
        sdk.do(vault.subject(new_root()).export("accounts", pair))
    assert not house.seen


def test_a_registration_carries_fields_consents_kind_and_capability(
    sdk: Sdk, house: House, vault: Any
) -> None:
    house.answer("Issue", issued("cap_1"))
    house.answer("Register", etag())
    root, consent = new_root(), Consent("services", 3, "ky", b"d")
    company = vault.subject(root)
    values = {"name": "Ош Тоо ЖЧК"}
    assert sdk.do(company.register("enterprises", values, [consent], kind="enterprise")) == "e2"
    assert house.calls("Issue")[0].request.root_id == bytes(root)
    assert house.calls("Register")[0].request == subject_pb.RegisterRequest(
        compartment="enterprises",
        capability="cap_1",
        kind=types_pb2.SUBJECT_KIND_ENTERPRISE,
        fields=[types_pb2.FieldValue(name="name", value="Ош Тоо ЖЧК")],
        consents=[
            types_pb2.Consent(purpose="services", edition=3, language="ky", notice_digest=b"d")
        ],
    )


def test_a_view_shows_the_subject_s_own_record(sdk: Sdk, house: House, person: Any) -> None:
    given = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    stamp = Timestamp()
    stamp.FromDatetime(given)
    states = [
        types_pb2.ConsentState(purpose="newsletter", given_at=stamp, withdrawn_at=stamp),
        types_pb2.ConsentState(purpose="services", edition=3, language="ky", given_at=stamp),
    ]
    house.answer("Issue", issued())
    house.answer(
        "View",
        subject_pb.ViewResponse(
            kind=types_pb2.SUBJECT_KIND_PERSON,
            fields=record(first_name="Айгүл", city=None).fields,
            consents=states,
            etag="e1",
        ),
    )
    own = sdk.do(person.view("accounts"))
    assert dict(own) == {"first_name": Secret("Айгүл"), "city": None}
    assert (own.kind, own.etag) == ("person", "e1")
    assert [(state.purpose, state.stands) for state in own.consents] == [
        ("newsletter", False),
        ("services", True),
    ]
    assert own.consents[1].given_at == given
    assert "Айгүл" not in repr(own)


def test_the_other_changes_carry_what_they_name(sdk: Sdk, house: House, person: Any) -> None:
    house.answer("Issue", issued("cap_1"))
    house.answer("Put", etag(subject_pb.SubjectServicePutResponse))
    house.answer("GrantConsent", etag(subject_pb.GrantConsentResponse))
    house.answer("WithdrawConsent", etag(subject_pb.WithdrawConsentResponse))
    house.answer("Erase", erased())
    assert sdk.do(person.put("accounts", {"city": None}, etag="e1")) == "e2"
    assert sdk.do(person.grant("accounts", iter([Consent("services", 3, "ky", b"d")]))) == "e2"
    assert sdk.do(person.withdraw("accounts", iter(["newsletter"]))) == "e2"
    erasure = sdk.do(person.erase("accounts"))
    assert (erasure.request.kind, erasure.request.state) == ("erasure", "done")
    assert not erasure.verified  # no key of the compartment is known
    assert list(house.calls("Put")[0].request.clear) == ["city"]
    assert house.calls("GrantConsent")[0].request.consents[0].purpose == "services"
    assert list(house.calls("WithdrawConsent")[0].request.purposes) == ["newsletter"]
    assert {seen.request.capability for seen in house.seen if seen.method != "Issue"} == {"cap_1"}


# Bad input is refused before it is sent


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda a, p: a.reveal(PSEUDONYM, "phone"), "fields is a list"),
        (lambda a, p: a.reveal(17, ["phone"]), "pseudonym must be a str"),
        (lambda a, p: a.reveal_many(PSEUDONYM, ["phone"]), "pseudonyms is a list"),
        (lambda a, p: a.reveal_many([PSEUDONYM], ["phone"], batch_size=201), "1 to 200"),
        (lambda a, p: a.put(PSEUDONYM, {"phone": 996555123456}), "fields.phone: must be a str"),
        (lambda a, p: a.put(PSEUDONYM, {"phone": "\ud800 996555123456"}), "valid Unicode"),
        (lambda a, p: a.put(PSEUDONYM, {"+996555123456": 1}), r"\(not a name\)"),
        (lambda a, p: a.put(PSEUDONYM, {}, request_id="Айгүл"), "UUID in lower case"),
        (lambda a, p: a.find(), "exactly one field"),
        (lambda a, p: a.find(email="a@b.kg", phone="996555123456"), "exactly one field"),
        (lambda a, p: p.register("accounts", {"city": None}), "nothing to remove"),
        (lambda a, p: p.register("accounts", {}, kind="robot"), "person, enterprise"),
        (lambda a, p: p.register("accounts", {}, ["services"]), "notice.accept"),
        (lambda a, p: p.withdraw("accounts", "services"), "purposes is a list"),
    ],
)
def test_what_cannot_be_right_is_refused_unsent(
    sdk: Sdk, house: House, accounts: Any, person: Any, act: Any, says: str
) -> None:
    house.answer("Issue", issued())
    with pytest.raises(errors.InvalidRequest, match=says) as error:
        sdk.do(act(accounts, person))
    assert "996555123456" not in str(error.value)
    assert not [seen for seen in house.seen if seen.method != "Issue"]


def test_a_subject_is_named_by_nothing_but_its_root_id(vault: Any) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"RootId\.parse") as error:
        vault.subject(RootId(bytes(16)).expose())
    assert "root_AAAA" not in str(error.value)


def test_a_closed_client_says_so(sdk: Sdk, vault: Any) -> None:
    sdk.do(vault.close())
    with pytest.raises(RuntimeError, match="closed"):
        sdk.do(vault.notices("accounts", "ky"))
