"""How holdings are written: JSON of format 1, and its schema, docs/export.schema.json."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field as Described
from pydantic import TypeAdapter

Texts = Annotated[dict[str, str], Described(description="One text, by language.")]
Moment = Annotated[
    str,
    Described(description="A moment in UTC (RFC 3339).", json_schema_extra={"format": "date-time"}),
]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose record it is, as far as the record says so."""

    kind: Literal["person", "enterprise"]
    registered_at: Moment
    restricted: Annotated[bool, Described(description="Whether they restricted the processing.")]
    erased: Annotated[
        bool, Described(description="Whether they erased it: then `kept` is all that is left.")
    ]


@dataclass(frozen=True, slots=True)
class HeldField:
    """A value, as it was given."""

    name: Annotated[str, Described(description="In the edition in force, or the last that had it.")]
    uid: Annotated[int, Described(description="The field's number in its compartment, for ever.")]
    type: str
    title: Texts
    voluntary: bool
    value: str
    set_at: Moment
    kept_until: Annotated[Moment, Described(description="When the last purpose that sees it ends.")]


@dataclass(frozen=True, slots=True)
class HeldConsent:
    """The last word on one purpose."""

    purpose: str
    edition: Annotated[int, Described(description="The edition whose notice was accepted.")]
    language: Annotated[str, Described(description="In which the notice was shown.")]
    text: Annotated[str | None, Described(description="The notice; null if it can't be told now.")]
    digest: Annotated[str, Described(description="SHA-256 of the notice, in hexadecimal.")]
    given_at: Moment
    withdrawn_at: Moment | None
    ask_again: Annotated[
        bool, Described(description="Whether the edition in force goes beyond what was agreed to.")
    ]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A third party that the data may go to."""

    name: str
    title: Texts


@dataclass(frozen=True, slots=True)
class KeptValues:
    """What the law has kept of a record that was erased, for one purpose alone."""

    purpose: str
    title: Texts
    basis: str
    until: Annotated[Moment, Described(description="When it is gone.")]
    fields: list[HeldField]


@dataclass(frozen=True, slots=True)
class ForPurpose:
    """A purpose that uses the compartment, as the edition in force has it."""

    name: str
    title: Texts
    description: Texts
    basis: str
    retention: Annotated[str, Described(description='Such as "3 years".')]
    ends_at: Annotated[Moment, Described(description="When its use of this record's data ends.")]
    fields: Annotated[dict[str, str], Described(description="The form that it sees each field in.")]
    recipients: list[Recipient]


@dataclass(frozen=True, slots=True)
class Place:
    """The one compartment that all of this is from."""

    uuid: str
    name: str
    title: Texts


@dataclass(frozen=True, slots=True)
class InForce:
    """The edition of the privacy policy that was in force when this was written."""

    number: int
    digest: Annotated[str, Described(description="SHA-256, in hexadecimal.")]
    in_force: Moment
    law: Texts
    languages: list[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that this answers."""

    id: Annotated[str, Described(description="The request's id, in hexadecimal.")]
    at: Moment
    key: Annotated[
        str, Described(description="The JWK thumbprint of the key that it is for, in base64url.")
    ]


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that one compartment holds of a subject, as it was exported for them."""

    request: Asked
    compartment: Place
    edition: InForce
    subject: Subject
    fields: list[HeldField]
    consents: list[HeldConsent]
    purposes: list[ForPurpose]
    kept: Annotated[list[KeptValues], Described(description="Of records that were erased.")]
    kind: Literal["piivault-export"] = "piivault-export"
    format: Literal[1] = 1

    @property
    def text(self) -> bytes:
        """The JSON, in UTF-8."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()


def holdings_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an export."""
    schema = TypeAdapter(Holdings).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(schema)}


def rfc3339(at: datetime) -> str:
    """Write a moment as RFC 3339 does, in UTC and whole seconds."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _closed(node: Any) -> Any:
    """Say of each object that it has its keys and no others; take out invented titles."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _closed(value) for key, value in node.items()}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    if "properties" in kept:
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    return kept
