"""A policy of another kind runs without a line of code changed."""

import shlex
from pathlib import Path

import piivault
import pytest
from piivault import errors

from vault.dev.local import local

CLINIC = Path(__file__).parents[2] / "examples/clinic/policy.yaml"
PATIENT = {
    "last_name": "Асанова",
    "first_name": "Жаныл",
    "birth_date": "1961-03-08",
    "phone": "0555 20 30 40",
}


def test_the_clinic_runs(tmp_path: Path) -> None:
    """On other bases than consent: a patient registers, the ward finds and reads, others can't."""
    with local(tmp_path / "state", CLINIC) as running:

        def client(service: str) -> piivault.Client:
            lines = running.environments[service].read_text(encoding="utf-8").splitlines()
            exports = (shlex.split(line)[1] for line in lines if line.startswith("export "))
            return piivault.Client.from_env(dict(export.split("=", 1) for export in exports))

        with client("reception") as reception, client("ward") as ward, client("study") as study:
            patient = reception.subject(piivault.new_root())
            notices = reception.notices("patients", "ru")
            asked = [notice.accept() for notice in notices if notice.consent_needed]
            patient.register("patients", PATIENT, asked)

            treatment = ward.compartment("patients", purpose="treatment")
            found = treatment.find(phone="+996 555 203040")
            assert found == patient.pseudonym("patients")
            assert treatment.reveal(found, ["last_name"])["last_name"].expose() == "Асанова"
            with pytest.raises(errors.NotGranted):
                study.compartment("patients", purpose="research").reveal(found, ["last_name"])
