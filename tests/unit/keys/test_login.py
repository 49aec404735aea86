"""A login that was refused isn't tried again too soon: both key servers lock out who insists."""

import os
from pathlib import Path

import pytest

from vault.keys import login as module
from vault.keys.login import AppRole, Refused

MINUTE, QUARTER = 60.0, 15 * 60.0


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def login(tmp_path: Path) -> AppRole:
    made = AppRole(tmp_path / "role-id", tmp_path / "secret-id")
    for file in made.files:
        file.write_text("id")
    return made


def test_it_waits_a_minute_then_longer_than_failures_are_counted(
    clock: Clock, login: AppRole
) -> None:
    refused = Refused()
    assert not refused.holds(login)
    for pause in (MINUTE, QUARTER + MINUTE, QUARTER + MINUTE):
        refused.note(login)
        clock.now += pause - 1
        assert refused.holds(login)
        clock.now += 1
        assert not refused.holds(login)


def test_a_file_that_changed_is_tried_at_once(clock: Clock, login: AppRole) -> None:
    refused = Refused()
    refused.note(login)
    assert refused.holds(login)
    os.utime(login.secret_id_file, ns=(1, 1))
    assert not refused.holds(login)
    refused.note(login)  # it begins anew
    clock.now += MINUTE
    assert not refused.holds(login)


def test_who_was_let_in_may_come_again(clock: Clock, login: AppRole) -> None:
    refused = Refused()
    refused.note(login)
    refused.forget()
    assert not refused.holds(login)
