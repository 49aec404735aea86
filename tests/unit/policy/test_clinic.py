"""A policy of another kind: a clinic's compiles, decides and tells without a line of code more."""

from datetime import UTC, datetime

import pytest

from vault.errors import Reason
from vault.policy import (
    Allowed,
    Basis,
    ConsentGiven,
    Covered,
    Denied,
    Edition,
    Form,
    Limit,
    Operation,
    check_consent,
    check_recipient,
    compile_edition,
    decide,
    notices,
)

from .checked_in import CLINIC

REGISTERED = datetime(2026, 4, 1, tzinfo=UTC)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def clinic() -> Edition:
    return compile_edition(CLINIC.read_text(encoding="utf-8"))


def test_stands_on_other_bases_than_consent(clinic: Edition) -> None:
    assert {name: its.basis for name, its in clinic.purposes.items()} == {
        "treatment": Basis.CONTRACT,
        "emergency": Basis.VITAL_INTEREST,
        "billing": Basis.LEGAL_OBLIGATION,
        "research": Basis.CONSENT,
        "newsletter": Basis.CONSENT,
    }


def test_keeps_charts_from_invoices(clinic: Edition) -> None:
    """Both go with patients, and not with each other."""
    assert clinic.joinable.keys() == {
        frozenset({"patients", "charts"}),
        frozenset({"patients", "invoices"}),
    }


def test_limits_who_could_be_curious(clinic: Edition) -> None:
    assert clinic.services["ambulance"].limits == {
        Operation.FIND: Limit(0.5, 500),
        Operation.REVEAL: Limit(1.0, 500),
    }


def test_forbids_what_its_grants_would_allow(clinic: Edition) -> None:
    ward, cashier = clinic.services["ward"], clinic.services["cashier"]
    find = Operation.FIND
    denied = decide(clinic, ward, "treatment", "patients", find, ["insurance_number"])
    assert isinstance(denied, Denied)
    assert "Nobody is looked up by their insurance" in denied.message
    allowed = decide(clinic, cashier, "billing", "patients", find, ["insurance_number"])
    assert isinstance(allowed, Allowed)


def _covered(clinic: Edition, service: str, *asked: str, **consents: datetime) -> Covered | Denied:
    purpose, compartment, *fields = asked
    decision = decide(
        clinic, clinic.services[service], purpose, compartment, Operation.REVEAL, fields
    )
    assert isinstance(decision, Allowed)
    given = [ConsentGiven(name, 1, "ru", bytes(32), at) for name, at in consents.items()]
    return check_consent(
        {1: clinic}, clinic, purpose, compartment, decision.uses, given, REGISTERED, NOW
    )


def test_treats_without_consent_what_patients_were_told_of(clinic: Edition) -> None:
    covered = _covered(clinic, "ambulance", "emergency", "charts", "blood_group", "prescriptions")
    assert isinstance(covered, Covered)
    assert [use.form for use in covered.uses] == [Form.PLAIN, Form.PRESENT]


def test_studies_with_consent_alone(clinic: Edition) -> None:
    denied = _covered(clinic, "study", "research", "cohort", "answers")
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.CONSENT_REQUIRED
    covered = _covered(clinic, "study", "research", "cohort", "answers", research=REGISTERED)
    assert isinstance(covered, Covered)


@pytest.mark.parametrize(
    ("purpose", "compartment", "allowed"),
    [
        pytest.param("billing", "invoices", True, id="bills"),
        pytest.param("treatment", "charts", False, id="charts"),
    ],
)
def test_discloses_bills_to_the_insurer_and_nothing_else(
    clinic: Edition, purpose: str, compartment: str, allowed: bool
) -> None:
    answer = check_recipient(
        {1: clinic}, clinic, purpose, compartment, [], REGISTERED, NOW, "insurer"
    )
    if allowed:
        assert answer is None
    else:
        assert answer is not None
        assert answer.reason is Reason.RECIPIENT_NOT_ALLOWED


@pytest.mark.parametrize("language", ["ru", "en"])
def test_tells_patients_what_needs_no_consent(clinic: Edition, language: str) -> None:
    needed = {its.purpose: its.consent_needed for its in notices(clinic, "patients", language)}
    assert needed == {"billing": False, "emergency": False, "treatment": False}
