"""A report without a server: one person's year in the example's accounts, as the server says it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from piivault import Report

from vault.policy import ConsentGiven, RecordHeld, compile_edition, processing
from vault.rpc.reports import report_out
from vault.sealed.v1 import sealed_pb2
from vault.service.call import Call, PolicyState
from vault.service.ledger import Ledger
from vault.service.report import About, ReportPage

EDITION = compile_edition(
    (Path(__file__).parents[1] / "examples/osh/policy.yaml").read_text(encoding="utf-8")
)
UUID = EDITION.compartment("accounts").uuid
REGISTERED = datetime(2026, 3, 2, 4, 11, 9, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
LEDGER = replace(Ledger({}), editions={1: EDITION})
CALL = Call(PolicyState(EDITION, LEDGER), EDITION.services["portal"], "request", repeatable=False)
PLAIN, MASKED, PRESENT = 1, 2, 3
CONSENTS = [
    ConsentGiven("account", 1, "ky", bytes(32), REGISTERED),
    ConsentGiven("newsletter", 1, "ky", bytes(32), REGISTERED, datetime(2026, 6, 2, tzinfo=UTC)),
    ConsentGiven("services", 1, "ky", bytes(32), REGISTERED),
]


def event(
    at: datetime,
    service: str,
    operation: str,
    purpose: str = "",
    *uses: tuple[int, int],
    reason: str = "",
) -> sealed_pb2.AuditEvent:
    """Write an event of the trail."""
    known = EDITION.services.get(service)
    return sealed_pb2.AuditEvent(
        at=int(at.timestamp() * 1_000_000),
        edition=1,
        service=service,
        owner=known.owner if known else "",
        purpose=purpose,
        operation=operation,
        outcome=sealed_pb2.OUTCOME_DENIED if reason else sealed_pb2.OUTCOME_ALLOWED,
        reason=reason,
        fields=[sealed_pb2.FieldUse(uid=uid, form=form) for uid, form in uses],
    )


def a_year(language: str) -> Report:
    """Return the report."""
    day = timedelta(days=1, minutes=47, seconds=13)
    seen = (1, PLAIN), (2, PLAIN), (5, PLAIN)
    helped = (1, PLAIN), (4, MASKED), (7, PRESENT)

    def on(days: int, service: str, operation: str, *more: Any, reason: str = "") -> Any:
        return event(REGISTERED + days * day, service, operation, *more, reason=reason)

    events = [
        on(0, "portal", "register"),
        *(on(n * 40, "orders", "reveal", "services", *seen) for n in range(1, 5)),
        on(9, "support", "find", "account", (4, MASKED)),
        on(10, "support", "reveal", "account", *helped),
        on(92, "portal", "withdraw_consent"),
        on(125, "newsletter", "reveal", "newsletter", (4, PLAIN), reason="CONSENT_REQUIRED"),
        on(183, "portal", "put", "", (5, PLAIN)),
        on(213, "piivault", "rotate"),
    ]
    held = RecordHeld(
        REGISTERED, False, CONSENTS, [(uid, REGISTERED) for uid in (1, 2, 3, 4, 5, 7)]
    )
    done = processing({1: EDITION}, EDITION, "accounts", language, held, NOW)
    about = About(1, int(REGISTERED.timestamp()), False, 0, done)
    page = ReportPage(int(NOW.timestamp() * 1_000_000), tuple(events), {}, "", about)
    return Report.of([report_out(page, CALL, UUID, language)])
