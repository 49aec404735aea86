"""audit_v1.json: a writer's chain of sealed events, and the tokens that find a subject's."""

from tests.vectors.formats import (
    AUDIT,
    Vector,
    digest,
    draw,
    mac,
    message,
    number,
    pad_to_step,
    seal,
)

KEY, KEY_VERSION = draw("audit-data key"), 3
ACCOUNTS, WRITER = draw("uuid of accounts", 16), draw("writer", 16)
SALT = draw("audit salt")
AT = 1_763_800_000_000_000  # microseconds
DAY = 24 * 3600 * 1_000_000

EVENTS: list[Vector] = [
    {
        "at": AT,
        "edition": 1,
        "service": "portal",
        "owner": "portal-team",
        "purpose": "",
        "operation": "register",
        "fields": [],
        "outcome": 1,
        "reason": "",
        "request_id": "0b8f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f",
        "row_digest": draw("row digest").hex(),
        "recipient": "",
    },
    {
        "at": AT + 1,
        "edition": 1,
        "service": "orders",
        "owner": "shop-team",
        "purpose": "services",
        "operation": "reveal",
        "fields": [{"uid": 2, "form": 1}, {"uid": 5, "form": 2}],
        "outcome": 1,
        "reason": "",
        "request_id": "1c9f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f",
        "row_digest": "",
        "recipient": "Кыргыз почтасы",
    },
    {
        "at": AT + DAY,
        "edition": 2,
        "service": "orders",
        "owner": "shop-team",
        "purpose": "services",
        "operation": "reveal",
        "fields": [{"uid": 2, "form": 1}],
        "outcome": 2,
        "reason": "CONSENT_REQUIRED",
        "request_id": "2daf7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f",
        "row_digest": "",
        "recipient": "",
    },
]


def vectors() -> Vector:
    previous = digest(b"piivault/v1/audit-writer", ACCOUNTS, WRITER)
    links = []
    for sequence, event in enumerate(EVENTS):
        token, place = _token(event["at"]), number(sequence, 8)
        where = {
            "compartment": ACCOUNTS,
            "writer": WRITER,
            "sequence": place,
            "previous": previous,
            "token": token,
        }
        body = pad_to_step(_body(event), 256)
        sealed = seal(KEY, AUDIT, number(KEY_VERSION, 8), where, body)
        links.append(
            {
                "sequence": sequence,
                "previous": previous.hex(),
                "token": token.hex(),
                "sealed": sealed.hex(),
                "event": event,
            }
        )
        label = b"piivault/v1/audit-event"
        previous = digest(label, ACCOUNTS, WRITER, place, previous, token, sealed)
    return {
        "key": KEY.hex(),
        "key_version": KEY_VERSION,
        "compartment": ACCOUNTS.hex(),
        "writer": WRITER.hex(),
        "salt": SALT.hex(),
        "links": links,
        "head": previous.hex(),
    }


def _token(at: int) -> bytes:
    return mac(SALT, b"piivault/v1/audit-token", number(at // DAY))[:16]


def _body(event: Vector) -> bytes:
    return message(
        (1, event["at"]),
        (2, event["edition"]),
        (3, event["service"]),
        (4, event["owner"]),
        (5, event["purpose"]),
        (6, event["operation"]),
        *((7, message((1, use["uid"]), (2, use["form"]))) for use in event["fields"]),
        (8, event["outcome"]),
        (9, event["reason"]),
        (10, event["request_id"]),
        (11, bytes.fromhex(event["row_digest"])),
        (12, event["recipient"]),
    )
