"""How an edition is written: the shape of its YAML, part by part.

These models check spelling alone; what the parts say to each other is in `rules`. All are
frozen, refuse unknown keys, and never show what they refused. The string under a key is what
editors show of it (`schema`).
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic import Field as Limits
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from vault.names import NAME, SPIFFE_ID, TRUST_DOMAIN
from vault.policy.vocabulary import Basis, FieldType, Index, Operation

RETENTION = re.compile(r"[1-9][0-9]{0,2} (day|week|month|year)s?")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REGION = re.compile(r"[A-Z]{2}")
_BIDI_CONTROL = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,5})\.[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class _Spelled:
    """Says of a string that all of it matches a pattern; `rule` tells people, with an example."""

    pattern: re.Pattern[str]
    rule: str

    def _check(self, text: str) -> str:
        if not self.pattern.fullmatch(text):
            raise PydanticCustomError("spelling", "should be {rule}", {"rule": self.rule})
        return text

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        what = f"{self.rule[0].upper()}{self.rule[1:]}."
        return {"type": "string", "pattern": f"^{self.pattern.pattern}$", "description": what}


def _decimal(value: object) -> object:
    """Read 0.5, which comes from YAML as a string: editions have no other use for decimals."""
    return float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value


def _visible(words: str) -> str:
    """Refuse what people can't see: a text must read as what it says, in every terminal."""
    if _BIDI_CONTROL.search(words) or any(unicodedata.category(char) == "Cc" for char in words):
        rule = "should be one line of text, without control characters: remove them"
        raise PydanticCustomError("control", rule)
    return words


Name = Annotated[
    str, _Spelled(NAME, "1 to 63 of a-z, 0-9, _ and -, and begin with a letter: first_name")
]
Language = Annotated[str, _Spelled(_LANGUAGE, "a language code of two or three letters: ky")]
Digest = Annotated[str, _Spelled(_DIGEST, "a digest: 64 of 0-9 and a-f")]
Region = Annotated[str, _Spelled(_REGION, "a country code of two capital letters: KG")]
TrustDomain = Annotated[str, _Spelled(TRUST_DOMAIN, "a SPIFFE trust domain: example.kg")]
Spiffe = Annotated[str, _Spelled(SPIFFE_ID, "a SPIFFE id: spiffe://example.kg/orders")]
Duration = Annotated[
    str, _Spelled(RETENTION, "a count from 1 to 999 and a unit, days to years: 3 years")
]
Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_visible)
]
Text = dict[Language, Words]
FormWord = Literal["plain", "masked", "present"]
KindWord = Literal["person", "enterprise"]
Rate = Annotated[float, BeforeValidator(_decimal), Limits(gt=0, le=1_000_000)]
Operations = Annotated[list[Operation], Limits(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Owner(_Part):
    """A team that answers for services."""

    id: UUID
    """The team's for ever, whatever the team is called: what it once saw counts under this id."""
    title: Text


class Field(_Part):
    """One kind of value in a compartment."""

    uid: Annotated[int, Limits(ge=1, lt=2**31)]
    """The field's number in its compartment, for ever: values are bound to it, not to the name."""
    type: FieldType
    """What values are checked, masked and indexed as. It never changes."""
    title: Text
    voluntary: bool = False
    """Whether a subject may leave it out when they register."""
    index: Index | None = None
    """Whether services can find by it: each value held by one record, or shared by several."""


class Compartment(_Part):
    """A database of personal data, made for one set of purposes."""

    uuid: UUID
    """The compartment's for ever: ciphertexts and pseudonyms are bound to it, not to the name."""
    title: Text
    subjects: Annotated[list[KindWord], Limits(min_length=1)]
    """Whose records it holds."""
    fields: Annotated[dict[Name, Field], Limits(min_length=1)]


class Joinable(_Part):
    """Two compartments whose purposes are compatible. A third isn't, unless declared with both."""

    between: tuple[Name, Name]
    reason: Text
    """Why they may be joined: subjects read it in their notices."""


class Use(_Part):
    """What a purpose sees of one compartment, and for how long."""

    retention: Duration
    fields: Annotated[dict[Name, FormWord], Limits(min_length=1)]
    """The fields that it sees, each in its form: no other exists for it."""
    kept_after_erasure: list[Name] = []
    """Of these fields, what the law makes the operator keep when the subject erases their data:
    under this purpose alone, until its retention ends. For the basis legal_obligation."""


class Purpose(_Part):
    """Why data is used. It inherits nothing from any other."""

    title: Text
    description: Text
    """What will be done, in the words that subjects read before they consent."""
    basis: Basis
    """Why it is lawful."""
    uses: Annotated[dict[Name, Use], Limits(min_length=1)]
    """By compartment."""
    recipients: list[Name] = []
    """The third parties that its data may go to."""


class Recipient(_Part):
    """A third party, by name."""

    title: Text


class Limit(_Part):
    """How often a service may do something."""

    per_second: Rate | None = None
    """On average; short bursts may be quicker."""
    per_day: Annotated[int, Limits(ge=1, lt=2**53)] | None = None


class Service(_Part):
    """A caller."""

    owner: Name
    spiffe: Spiffe
    """The id in the service's client certificate."""
    subject_facing: bool = False
    """Whether it acts for subjects; it then does nothing else, and its owner owns nothing else."""
    require_subject_assertion: bool = False
    """Whether it acts only for subjects who are there, by an assertion of an identity provider."""
    limits: dict[Operation, Limit] = {}
    """How often it may do what. Without a limit, the server's own apply."""


class Grant(_Part):
    """What a service may do in a compartment for a purpose."""

    service: Name
    purpose: Name
    compartment: Name
    operations: Operations


class Forbid(_Part):
    """What nobody may be granted. All keys given must match; a key left out matches everything."""

    service: Name | None = None
    owner: Name | None = None
    """All services of this owner."""
    purpose: Name | None = None
    compartment: Name | None = None
    fields: Annotated[list[Name], Limits(min_length=1)] | None = None
    """These fields of the compartment; without them, all of it."""
    operations: Operations | None = None
    reason: Text
    """Why: whoever is refused reads it."""


class Document(_Part):
    """One edition of a privacy policy: what isn't declared here doesn't happen."""

    edition: Annotated[int, Limits(ge=1, lt=2**31)]
    """Its number: 1, and then one more each time."""
    predecessor: Digest | None
    """The digest of the edition before; null in edition 1."""
    posted: AwareDatetime
    """When people could first read it, with the offset from UTC."""
    in_force: AwareDatetime
    """From when on it decides, never before it was posted."""
    law: Text
    """The law that governs what the edition leaves open."""
    answer_within: Duration = "1 week"
    """How long that law gives for an answer to a subject. One week: law 58/2008, article 17."""
    trust_domain: TrustDomain
    """The SPIFFE trust domain of all services."""
    region: Region | None = None
    """The country whose telephone numbers are written without a country code. It never changes."""
    languages: Annotated[list[Language], Limits(min_length=1)]
    """Every text stands in each of these."""
    owners: dict[Name, Owner]
    compartments: dict[Name, Compartment]
    joinable: list[Joinable] = []
    """The pairs of compartments that may be joined; all others may not."""
    purposes: dict[Name, Purpose]
    recipients: dict[Name, Recipient] = {}
    """The third parties that data may go to."""
    services: dict[Name, Service]
    grants: list[Grant] = []
    """Who may do what for which purpose; all else is denied."""
    forbid: list[Forbid] = []
    """What stays denied whatever is granted."""
