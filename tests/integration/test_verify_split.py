"""`verify` where each process has a login of its own, and none may do more than it must."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests import verifying
from tests.command import piivault
from tests.split import SplitHouse
from tests.verifying import ACCOUNTS, put_back, saved
from vault.store import tables as t

WORKER = "worker-accounts"


def verify(house: SplitHouse, *more: str | Path) -> CompletedProcess[str]:
    worker = house.running.servers[WORKER].config
    return piivault("verify", "--config", worker, "--compartment", ACCOUNTS, *more)


def test_with_the_auditors_configuration_rollbacks_are_found(split_house: SplitHouse) -> None:
    """With the worker's alone they aren't, and it says so."""
    person = split_house.register()
    auditor = split_house.running.servers["auditor"].config
    before = saved(split_house, person.pseudonym)
    person.subject.put(ACCOUNTS, {"city": "Өзгөн"})
    clean = verify(split_house, "--auditor", auditor)
    put_back(split_house, person.pseudonym, {t.records: before[t.records]})
    told, untold = verify(split_house, "--auditor", auditor), verify(split_house)
    put_back(split_house, person.pseudonym, {table: [] for table in verifying.OF_A_RECORD})
    assert (clean.returncode, clean.stderr) == (0, "")
    assert "Nothing is wrong with what was looked at." in clean.stdout
    assert (told.returncode, told.stderr) == (1, "")
    assert "rollback: records, row_version" in told.stdout
    assert (untold.returncode, untold.stderr) == (0, "")
    assert "Rollbacks were not looked for" in untold.stdout


@pytest.mark.parametrize(
    ("configuration", "said"),
    [(WORKER, "has no [auditor]: it isn't the auditor's"), ("control", "has no [auditor]")],
    ids=["a worker's", "control's"],
)
def test_another_configuration_isnt_the_auditors(
    split_house: SplitHouse, configuration: str, said: str
) -> None:
    told = verify(split_house, "--auditor", split_house.running.servers[configuration].config)
    assert told.returncode == 1
    assert said in " ".join(told.stderr.split())
