"""record_v1.json: complete records, and second layers that came from elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from tests.vectors.formats import (
    DATA_KEY,
    FIELD,
    RECORD,
    Place,
    Vector,
    derive,
    draw,
    message,
    number,
    pad_to_step,
    pad_value,
    seal,
)

KEK = draw("kek")
ACCOUNTS = draw("uuid of accounts", 16)
NOW = 1_760_000_000
LATER = 1_763_800_000


@dataclass(frozen=True, slots=True)
class Row:
    """Where and under which key a record is sealed."""

    name: str
    pseudonym: bytes
    row_version: bytes = draw("row version", 16)

    @property
    def data_key(self) -> bytes:
        return draw(f"data key of {self.name}")

    @property
    def data_key_id(self) -> bytes:
        return draw(f"data key id of {self.name}", 8)

    @property
    def place(self) -> Place:
        row_version = self.row_version
        return {"compartment": ACCOUNTS, "pseudonym": self.pseudonym, "row_version": row_version}


@dataclass(frozen=True, slots=True)
class Field:
    """A value in clear."""

    uid: int
    type: str
    value: str
    set_at: int = NOW


AIGUL = Row("Aigul", draw("pseudonym of Aigul"))
BAKYT = Row("Bakyt", draw("pseudonym of Bakyt"))
MARKET = Row("the market", draw("pseudonym of the market"))

PERSON = [
    Field(1, "text", "Асанова"),
    Field(2, "text", "Айгүл"),
    Field(4, "email", "aigul@example.kg"),
    Field(5, "phone", "+996 555 123456", LATER),
]
ENTERPRISE = [
    Field(1, "text", "«Келечек» базары"),
    Field(7, "address", "Ош шаары, Ленин көчөсү, 221. " * 60),
]
CONSENTS: list[Vector] = [
    {
        "purpose": "account",
        "edition": 1,
        "language": "ky",
        "notice_digest": draw("notice of account").hex(),
        "given_at": NOW,
        "withdrawn_at": 0,
    },
    {
        "purpose": "newsletter",
        "edition": 1,
        "language": "ru",
        "notice_digest": draw("notice of newsletter").hex(),
        "given_at": NOW,
        "withdrawn_at": LATER,
    },
]


def vectors() -> Vector:
    return {
        "opened": [
            _opened("a person", AIGUL, _about(1, CONSENTS), PERSON),
            _opened("restricted, with no values", BAKYT, _about(1, [], restricted=True), []),
            _opened("an enterprise", MARKET, _about(2, CONSENTS[:1]), ENTERPRISE),
        ],
        "refused": list(_refused()),
    }


def _about(kind: int, consents: list[Vector], *, restricted: bool = False) -> Vector:
    return {
        "subject_kind": kind,
        "registered_at": NOW,
        "consents": consents,
        "restricted": restricted,
        "audit_salt": draw("audit salt").hex(),
    }


def _opened(name: str, row: Row, about: Vector, fields: Sequence[Field]) -> Vector:
    place = {"compartment": ACCOUNTS, "pseudonym": row.pseudonym}
    wrapped = seal(KEK, DATA_KEY, row.data_key_id, place, row.data_key)
    messages = [_field(field, _envelope(row, field)) for field in fields]
    more = {"kek": KEK.hex(), "wrapped_data_key": wrapped.hex()}
    shown = {"about": about, "fields": [asdict(field) for field in fields]}
    return _vector(name, row, _seal(row, about, messages)) | more | shown


def _refused() -> Iterator[Vector]:
    """Make records whose first layer opens, with one field from elsewhere in the second."""
    email = Field(4, "email", "aigul@example.kg")
    another_row = replace(AIGUL, row_version=draw("an older row version", 16))
    another_subject = replace(AIGUL, pseudonym=BAKYT.pseudonym)  # under the same data key
    foreign = {
        "from an older row version": _envelope(another_row, email),
        "from another subject's record": _envelope(another_subject, email),
        "from another field": _envelope(AIGUL, replace(email, uid=5)),
        "of another type": _envelope(AIGUL, replace(email, type="text")),
    }
    for name, envelope in foreign.items():
        yield _vector(name, AIGUL, _seal(AIGUL, _about(1, []), [_field(email, envelope)]))


def _vector(name: str, row: Row, sealed: bytes) -> Vector:
    return {
        "name": name,
        "compartment": ACCOUNTS.hex(),
        "pseudonym": row.pseudonym.hex(),
        "data_key_id": row.data_key_id.hex(),
        "data_key": row.data_key.hex(),
        "row_version": row.row_version.hex(),
        "sealed": sealed.hex(),
    }


def _envelope(row: Row, field: Field) -> bytes:
    uid = number(field.uid)
    place = {**row.place, "uid": uid, "type": field.type.encode()}
    key = derive(row.data_key, b"field", uid)
    return seal(key, FIELD, row.data_key_id, place, pad_value(field.value.encode()))


def _field(field: Field, envelope: bytes) -> bytes:
    return message((1, field.uid), (2, envelope), (3, field.set_at), (4, field.type))


def _seal(row: Row, about: Vector, fields: Sequence[bytes]) -> bytes:
    body = message(
        (1, about["subject_kind"]),
        (2, about["registered_at"]),
        *((3, _consent(consent)) for consent in about["consents"]),
        (4, int(about["restricted"])),
        (5, bytes.fromhex(about["audit_salt"])),
        *((6, field) for field in fields),
    )
    key = derive(row.data_key, b"record")
    return seal(key, RECORD, row.data_key_id, row.place, pad_to_step(body, 1024))


def _consent(consent: Vector) -> bytes:
    return message(
        (1, consent["purpose"]),
        (2, consent["edition"]),
        (3, consent["language"]),
        (4, bytes.fromhex(consent["notice_digest"])),
        (5, consent["given_at"]),
        (6, consent["withdrawn_at"]),
    )
