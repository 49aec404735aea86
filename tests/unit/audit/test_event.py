"""An audit event: what is kept of a request, and the token that finds it again."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vault.audit.event import ALLOWED, DENIED, TOKEN_BYTES, Event, replaced_mark, token
from vault.sealed.v1 import sealed_pb2

SALT = bytes(range(32))
DAY = 24 * 3600 * 1_000_000  # microseconds
EVENT = Event(
    edition=2,
    service="orders",
    owner="shop-team",
    purpose="services",
    operation="reveal",
    request_id="0b8f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f",
    outcome=ALLOWED,
    uses=((2, 1), (5, 2)),
    row_digest=bytes(32),
    recipient="Кыргыз почтасы",
    token=b"sixteen bytes ..",
    at=1_763_800_000_000_000,
)

moments = st.integers(0, 2**55)
salts = st.binary(min_size=32, max_size=32)


def test_everything_but_the_token_is_sealed() -> None:
    assert EVENT.to_message() == sealed_pb2.AuditEvent(
        at=EVENT.at,
        edition=2,
        service="orders",
        owner="shop-team",
        purpose="services",
        operation="reveal",
        fields=[sealed_pb2.FieldUse(uid=2, form=1), sealed_pb2.FieldUse(uid=5, form=2)],
        outcome=sealed_pb2.OUTCOME_ALLOWED,
        request_id=EVENT.request_id,
        row_digest=bytes(32),
        recipient="Кыргыз почтасы",
    )
    assert EVENT.token not in EVENT.to_message().SerializeToString()


def test_a_refused_event_is_the_same_request_with_nothing_changed() -> None:
    refused = EVENT.refused(DENIED, "CONSENT_REQUIRED")
    expected = replace(EVENT, outcome=DENIED, reason="CONSENT_REQUIRED", row_digest=b"")
    assert refused == expected


def test_what_was_refused_replaced_nothing() -> None:
    replacing = EVENT.replacing(SALT, bytes(32))
    assert replacing == replace(EVENT, replaces=replaced_mark(SALT, bytes(32)))
    assert replacing.to_message().replaces == replacing.replaces
    assert replacing.refused(DENIED, "STALE_ETAG").replaces == b""


@given(salts, salts, salts, salts)
def test_marks_are_equal_for_one_row_of_one_record_alone(
    salt: bytes, digest: bytes, other_salt: bytes, other_digest: bytes
) -> None:
    same = (salt, digest) == (other_salt, other_digest)
    assert (replaced_mark(salt, digest) == replaced_mark(other_salt, other_digest)) == same
    assert len(replaced_mark(salt, digest)) == TOKEN_BYTES


def test_an_event_that_met_a_record_is_found_by_its_salt() -> None:
    assert EVENT.of_subject(SALT) == replace(EVENT, token=token(SALT, EVENT.at))


def test_an_event_that_met_no_record_has_a_token_that_nobody_can_compute() -> None:
    drawn = {Event(1, "s", "o", "p", "reveal", "", ALLOWED).token for _ in range(100)}
    assert len(drawn) == 100
    assert {len(token) for token in drawn} == {TOKEN_BYTES}


@given(salts, moments, salts, moments)
def test_tokens_are_equal_for_one_subject_on_one_day_alone(
    salt: bytes, at: int, other_salt: bytes, other_at: int
) -> None:
    same = (salt, at // DAY) == (other_salt, other_at // DAY)
    assert (token(salt, at) == token(other_salt, other_at)) == same


@given(st.integers(0, 2**14))
def test_a_day_ends_at_midnight_utc(day: int) -> None:
    """And not a microsecond before."""
    start = day * DAY
    assert token(SALT, start) == token(SALT, start + DAY - 1)
    assert token(SALT, start) != token(SALT, start + DAY)
    assert len(token(SALT, start)) == TOKEN_BYTES


def test_a_token_is_not_shown() -> None:
    assert repr(EVENT.token) not in repr(EVENT)
