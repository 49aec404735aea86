"""How an edition is written: the shape of its YAML, part by part.

These models check spelling alone; what the parts say to each other is in `rules`. All are
frozen, refuse unknown keys, and never show what they refused.
"""

import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    StringConstraints,
)
from pydantic import Field as Limits
from pydantic_core import PydanticCustomError

from vault.names import NAME
from vault.policy.vocabulary import Basis, FieldType, Index, Operation

RETENTION = re.compile(r"[1-9][0-9]{0,2} (day|week|month|year)s?")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REGION = re.compile(r"[A-Z]{2}")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SPIFFE_PATH = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+"
_SPIFFE = re.compile(rf"spiffe://{_TRUST_DOMAIN.pattern}{_SPIFFE_PATH}")


def _spelled(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise PydanticCustomError("spelling", "should be {rule}", {"rule": rule})
        return text

    return AfterValidator(check)


Name = Annotated[
    str, _spelled(NAME, "1 to 63 of a-z, 0-9, _ and -, and begin with a letter: first_name")
]
Language = Annotated[str, _spelled(_LANGUAGE, "a language code of two or three letters: ky")]
Digest = Annotated[str, _spelled(_DIGEST, "a digest: 64 of 0-9 and a-f")]
Region = Annotated[str, _spelled(_REGION, "a country code of two capital letters: KG")]
TrustDomain = Annotated[str, _spelled(_TRUST_DOMAIN, "a SPIFFE trust domain: example.kg")]
Spiffe = Annotated[str, _spelled(_SPIFFE, "a SPIFFE id: spiffe://example.kg/orders")]
Duration = Annotated[
    str, _spelled(RETENTION, "a count from 1 to 999 and a unit, days to years: 3 years")
]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Text = dict[Language, Words]
FormWord = Literal["plain", "masked", "present"]
KindWord = Literal["person", "enterprise"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Owner(_Part):
    """A team. Its id never changes, whatever the team is called."""

    id: UUID
    title: Text


class Field(_Part):
    """One kind of value in a compartment."""

    uid: Annotated[int, Limits(ge=1, lt=2**31)]
    type: FieldType
    title: Text
    voluntary: bool = False
    index: Index | None = None


class Compartment(_Part):
    """A database of personal data."""

    uuid: UUID
    title: Text
    subjects: Annotated[list[KindWord], Limits(min_length=1)]
    fields: Annotated[dict[Name, Field], Limits(min_length=1)]


class Joinable(_Part):
    """Two compartments whose purposes are compatible, and why."""

    between: tuple[Name, Name]
    reason: Text


class Use(_Part):
    """What a purpose sees of one compartment, and for how long."""

    retention: Duration
    fields: Annotated[dict[Name, FormWord], Limits(min_length=1)]


class Purpose(_Part):
    """Why data is used."""

    title: Text
    description: Text
    basis: Basis
    uses: Annotated[dict[Name, Use], Limits(min_length=1)]
    recipients: list[Name] = []


class Recipient(_Part):
    """A third party, by name."""

    title: Text


class Service(_Part):
    """A caller."""

    owner: Name
    spiffe: Spiffe
    subject_facing: bool = False


class Grant(_Part):
    """What a service may do in a compartment for a purpose."""

    service: Name
    purpose: Name
    compartment: Name
    operations: Annotated[list[Operation], Limits(min_length=1)]


class Document(_Part):
    """The whole edition."""

    edition: Annotated[int, Limits(ge=1, lt=2**31)]
    predecessor: Digest | None
    posted: AwareDatetime
    in_force: AwareDatetime
    law: Text
    trust_domain: TrustDomain
    region: Region | None = None
    languages: Annotated[list[Language], Limits(min_length=1)]
    owners: dict[Name, Owner]
    compartments: dict[Name, Compartment]
    joinable: list[Joinable] = []
    purposes: dict[Name, Purpose]
    recipients: dict[Name, Recipient] = {}
    services: dict[Name, Service]
    grants: list[Grant] = []
