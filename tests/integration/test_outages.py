"""Outages of the key server at a served call: what docs/keys.md says of each, on real OpenBao.

Each begins in a house that is well, with its keys in memory; and each heals with no restart.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from piivault.auditors import AuditClient
from piivault.keys import KeyVersion
from piivault.officers import OfficersClient
from piivault.v1 import pseudonym_service_pb2

from tests.officers import OFFICER
from tests.outages import AUDITOR, BROKER, KEY, LOGIN, Broken, broken
from tests.wire import wait_for
from vault.errors import Reason
from vault.keys.provision import worker_policy

# Python loses a socket whose other end goes away between `connect` and the handshake.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)

__all__ = ["broken"]

Act = Callable[[Broken], object]
NOT_READY = "not ready: The keys of worker-accounts: "
UNAVAILABLE, DAMAGED = Reason.KEYS_UNAVAILABLE, Reason.DAMAGED
POLICY = f"sys/policies/acl/{LOGIN}"
ROLE = f"auth/approle/role/{LOGIN}"
QUOTA = "sys/quotas/rate-limit/outage"


@dataclass(frozen=True, slots=True)
class Outage:
    """What is done to the key server, and undone; what callers and the log are told.

    `told` is the reason where a key isn't in memory, or "" where callers are answered all the same.
    """

    begin: Act
    heal: Act
    told: str
    logged: str


def _revoke_logins(broken: Broken) -> None:
    time.sleep(1)  # so often is a token replaced
    broken.admin.write("sys/leases/revoke-prefix/auth/approle/login")


def _limit(broken: Broken) -> None:
    broken.admin.write(QUOTA, path="transit/", rate=1, interval="3600s")


def _expire(broken: Broken) -> None:
    """Have tokens live for a second, and never longer; then be silent for longer than that."""
    broken.admin.write(ROLE, token_ttl=1, token_max_ttl=1)
    _revoke_logins(broken)


def _last(broken: Broken) -> None:
    broken.admin.write(ROLE, token_ttl=3600, token_max_ttl=86400)
    _revoke_logins(broken)


def _refuse_login(broken: Broken) -> None:
    """The secret id is revoked, and so is the token that it was good for."""
    login = broken.house.running.app_roles[LOGIN]
    broken.admin.write(f"{ROLE}/secret-id/destroy", secret_id=login.secret_id_file.read_text())
    _revoke_logins(broken)


def _issue_secret_id(broken: Broken) -> None:
    """As `piivault setup` does: files of the login are read anew."""
    made = broken.admin.write(f"{ROLE}/secret-id")["data"]["secret_id"]
    broken.house.running.app_roles[LOGIN].secret_id_file.write_text(made)


def _forbid(broken: Broken) -> None:
    policy = worker_policy(["piivault-nobody"])
    broken.admin.write(POLICY, policy=policy)


def _allow(broken: Broken) -> None:
    keys = ("piivault-accounts", "piivault-accounts.audit")
    broken.admin.write(POLICY, policy=worker_policy(keys))


def _delete(broken: Broken) -> None:
    broken.snapshot("before")
    broken.admin.write(f"{KEY}/config", deletion_allowed=True)
    broken.admin.delete(KEY)


def _trim(broken: Broken) -> None:
    """Against what `keys status` says: nothing was wrapped anew."""
    broken.snapshot("before")
    broken.admin.write(f"{KEY}/rotate")
    newest = broken.admin.read(KEY)["data"]["latest_version"]
    minimum = {"min_decryption_version": newest, "min_encryption_version": newest}
    broken.admin.write(f"{KEY}/config", **minimum)
    broken.admin.write(f"{KEY}/trim", min_available_version=newest)


def _go_back(broken: Broken) -> None:
    broken.snapshot("older")
    broken.rotate_transit()
    broken.snapshot("before")
    broken.restore("older")


def _come_back(broken: Broken) -> None:
    broken.restore("before")


def _swap(broken: Broken) -> None:
    """Exchange two rows of the keyring: each is then opened in the context of the other."""
    (kek,), (lookup,) = (
        broken.house.sql("accounts", f"SELECT wrapped FROM keyring WHERE kind = '{kind}'")
        for kind in ("kek", "lookup")
    )
    for kind, wrapped in (("kek", lookup[0]), ("lookup", kek[0])):
        broken.house.sql(
            "accounts", f"UPDATE keyring SET wrapped = '{wrapped}' WHERE kind = '{kind}'"
        )


OUTAGES = {
    "sealed": Outage(
        lambda b: b.admin.write("sys/seal"), Broken.unseal, UNAVAILABLE, "it is sealed. Unseal it"
    ),
    "unreachable": Outage(Broken.kill, Broken.start, UNAVAILABLE, "no connection. Check `address`"),
    "slow": Outage(
        lambda b: b.signal(signal.SIGSTOP),
        lambda b: b.signal(signal.SIGCONT),
        UNAVAILABLE,
        "no answer in time",
    ),
    "rate-limited": Outage(
        _limit, lambda b: b.admin.delete(QUOTA), UNAVAILABLE, "it is too busy for more. Raise"
    ),
    "token expired": Outage(_expire, _last, "", ""),
    "token revoked": Outage(_revoke_logins, lambda b: None, "", ""),
    "login refused": Outage(
        _refuse_login, _issue_secret_id, UNAVAILABLE, "refused. Have a new secret id issued"
    ),
    "permission revoked": Outage(
        _forbid, _allow, UNAVAILABLE, "this login may not. Compare its policy"
    ),
    "key deleted": Outage(_delete, _come_back, DAMAGED, "the key isn't there. Was it deleted"),
    "key soft-deleted": Outage(
        lambda b: b.admin.delete(f"{KEY}/soft-delete"),
        lambda b: b.admin.write(f"{KEY}/soft-delete-restore"),
        DAMAGED,
        "the key is soft-deleted. Restore it",
    ),
    "version trimmed": Outage(
        _trim, _come_back, DAMAGED, "below the key's `min_decryption_version`, or trimmed away"
    ),
    "wrong context": Outage(_swap, _swap, DAMAGED, "wrong context, or tampered with"),
    # The key of the trail went back as well: not even the refusal can be recorded.
    "an older snapshot restored": Outage(
        _go_back, _come_back, Reason.AUDIT_UNAVAILABLE, "restored from an older snapshot"
    ),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_is_served_from_memory_told_and_healed(
    broken: Broken, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    wait_for(lambda: broken.is_ready() and not broken.told(), what="a house that is well")
    caplog.clear()
    outage.begin(broken)
    try:
        _serves_from_memory(broken, outage, caplog)
        broken.forget()
        _refuses_without(broken, outage, caplog)
    finally:
        outage.heal(broken)
    wait_for(lambda: not broken.told(), what="an answer")
    wait_for(broken.is_ready, what="readiness")
    wait_for(lambda: broken.metric("piivault_key_server_answers") == 1)
    wait_for(lambda: broken.metric("piivault_keys_unusable") == 0)


def _serves_from_memory(broken: Broken, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """Operators hear of it, callers don't, and the process goes on being ready."""
    assert not broken.told()
    if outage.logged and outage.begin is not _swap:  # the canary opens: nothing to hear of yet
        wait_for(lambda: outage.logged in caplog.text, what=outage.logged)
        wait_for(lambda: broken.metric("piivault_key_server_answers") == 0)
    assert broken.is_ready()
    assert NOT_READY not in caplog.text
    assert not broken.told()


def _refuses_without(broken: Broken, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    # Not at once where a token that ended had just been replaced: so often it isn't.
    wait_for(lambda: broken.told() == outage.told, what=f"'{outage.told}'")
    assert not broken.status().suspended  # officers are answered
    if not outage.told:
        assert broken.is_ready()
        return
    wait_for(lambda: not broken.is_ready(), what="unreadiness")
    wait_for(lambda: broken.metric("piivault_keys_unusable") >= 1)
    wait_for(lambda: NOT_READY in caplog.text, what=NOT_READY)
    (line, *_) = [line for line in caplog.messages if line.startswith(NOT_READY)]
    assert "kek:1" in line
    assert "of accounts: " in line
    assert outage.logged in caplog.text
    assert broken.told() == outage.told  # and it stays so


def test_the_broker_caches_nothing_and_says_so_at_once(broken: Broken) -> None:
    """And the auditor, whose keys are in memory, goes on."""
    request = pseudonym_service_pb2.IssueRequest(compartment="accounts", root_id=bytes(16))
    issue = partial(broken.house.told, "portal", request)
    wait_for(lambda: not issue() and broken.is_ready(BROKER) and broken.is_ready(AUDITOR))
    broken.admin.write("sys/seal")
    try:
        assert issue() == UNAVAILABLE
        wait_for(lambda: not broken.is_ready(BROKER))
        wait_for(lambda: broken.metric("piivault_key_server_answers", AUDITOR) == 0)
        assert broken.is_ready(AUDITOR)
    finally:
        broken.unseal()
    wait_for(lambda: not issue() and broken.is_ready(BROKER))


def test_the_auditor_opens_nothing_under_an_audit_key_that_was_stopped(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the events that it couldn't open, and opens them when the key goes on."""
    assert not broken.told()
    environment = broken.house.environment(OFFICER)
    with OfficersClient.from_env(environment) as officers, AuditClient.from_env(environment) as its:
        keys = officers.keys("accounts")

        def reasons() -> set[str]:
            return {event.reason for event in its.events("accounts") if not event.service}

        wait_for(lambda: not reasons())
        keys.rotate("audit")
        first = KeyVersion("audit", 1)
        wait_for(lambda: {k.name: k.state for k in keys.status().keys}[first] == "decrypt-only")
        keys.suspend(first)
        wait_for(lambda: reasons() == {Reason.KEYS_SUSPENDED})
        stopped = [event for event in its.events("accounts") if event.reason == "KEYS_SUSPENDED"]
        assert all(event.writer and event.outcome == "failed" for event in stopped)
        assert "events under version 1 of the audit key are not opened: suspended" in caplog.text
        assert broken.is_ready(AUDITOR)
        assert not broken.told()
        keys.resume(first)
        wait_for(lambda: not reasons())
