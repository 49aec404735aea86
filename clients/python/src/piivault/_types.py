"""What callers get and give: values that don't show themselves, records, consents."""

import base64
import binascii
import hmac
import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NoReturn, Self

from piivault._requests import KeptByLaw
from piivault.errors import ConsentRequired, PiivaultError

SubjectKind = Literal["person", "enterprise"]

ROOT_ID_BYTES = 16


class _Redacted:
    """Shows its class and three dots wherever Python would print it; can't be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} isn't pickled or copied: use expose()")


class Secret(_Redacted):
    """A revealed value. `expose()` gives it; nothing else prints, logs or stores it.

    >>> phone = Secret("+996555123456")
    >>> print(f"call {phone}")
    call Secret(…)
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # a hash would tell equal values apart

    def __init__(self, value: str) -> None:
        self._value = value

    def expose(self) -> str:
        """Return the value itself. Search for this word to find where values leave."""
        return self._value

    def __eq__(self, other: object) -> bool:
        """Compare with another Secret, in a time that tells nothing of the values."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())


class RootId(_Redacted):
    """A subject's root id: 16 random bytes, kept by the subject-facing side alone.

    It leads to all pseudonyms of the subject, so it belongs in no log and in no other service.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        if not isinstance(raw, bytes) or len(raw) != ROOT_ID_BYTES:
            raise ValueError(f"a root id is {ROOT_ID_BYTES} bytes; draw one with new_root()")
        self._raw = raw

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `expose()` wrote; raise ValueError for anything else."""
        try:
            raw = base64.b64decode(text.removeprefix("root_") + "==", altchars=b"-_", validate=True)
            root = cls(raw)
        except (binascii.Error, ValueError):
            raise ValueError("a root id is written root_ and 22 characters") from None
        if root.expose() != text:  # stray bits at the end: two spellings of one id
            raise ValueError("a root id is written root_ and 22 characters")
        return root

    def expose(self) -> str:
        """Write it as `root_…`, to be kept beside the account that it belongs to."""
        return "root_" + base64.urlsafe_b64encode(self._raw).rstrip(b"=").decode()

    def __bytes__(self) -> bytes:
        return self._raw

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RootId):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash(self._raw)


def new_root() -> RootId:
    """Draw a root id for a new subject. Keep it: nobody can find it again."""
    return RootId(secrets.token_bytes(ROOT_ID_BYTES))


class Form(StrEnum):
    """In what form a purpose sees a field."""

    PLAIN = "plain"
    MASKED = "masked"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Consent:
    """The subject's agreement to one purpose: what they were shown, exactly."""

    purpose: str
    edition: int
    language: str
    notice_digest: bytes


@dataclass(frozen=True, slots=True)
class ConsentState:
    """A consent as the record keeps it; withdrawn ones are kept too."""

    purpose: str
    edition: int
    language: str
    given_at: datetime
    withdrawn_at: datetime | None
    ask_again: bool = False  # whether the edition in force goes beyond what was agreed to

    @property
    def stands(self) -> bool:
        """Whether it was given and not withdrawn."""
        return self.withdrawn_at is None


@dataclass(frozen=True, slots=True)
class Notice:
    """What to show to a subject before they consent to one purpose."""

    purpose: str
    edition: int
    language: str
    text: str
    digest: bytes
    consent_needed: bool

    def accept(self) -> Consent:
        """Return the consent to hand over once the subject has read `text` and agreed.

        Raises ValueError where the purpose rests on another basis and asks for no consent.
        """
        if not self.consent_needed:
            raise ValueError(f"{self.purpose} asks for no consent: there is nothing to accept")
        return Consent(self.purpose, self.edition, self.language, self.digest)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Revealed(Mapping[str, Secret]):
    """Fields of one record: a mapping of the values that it holds and the purpose shows.

    `forms` and `present()` speak of every field asked for, `etag` is the record's version ("" for a
    service that may not put here for this purpose), `edition` the edition that the read was decided
    under. `withheld` are fields that the purpose sees now and the subject wasn't told of: asking
    for one raises ConsentRequired.
    """

    values_held: Mapping[str, Secret]
    held: frozenset[str]
    forms: Mapping[str, Form]
    etag: str
    edition: int
    withheld: frozenset[str] = frozenset()

    def present(self, name: str) -> bool:
        """Tell whether the record holds a value, also where the purpose doesn't show it."""
        self._asked(name)
        return name in self.held

    def __getitem__(self, name: str) -> Secret:
        if name in self.values_held:
            return self.values_held[name]
        self._asked(name)
        if self.forms[name] is Form.PRESENT:
            raise KeyError(f"the purpose sees only whether {name} is there: use present()")
        raise KeyError(f"the record holds no {name}: use get()")

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_held)

    def __len__(self) -> int:
        return len(self.values_held)

    def __repr__(self) -> str:
        return f"Revealed({', '.join(self.forms)})"

    def _asked(self, name: str) -> None:
        if name in self.withheld:
            raise ConsentRequired(
                f"The subject wasn't told that this purpose sees {name}: the portal must ask again."
            )
        if name not in self.forms:
            raise KeyError(f"{name} wasn't asked for")


@dataclass(frozen=True, slots=True)
class RevealedItem:
    """One record of a batch, or why not: either `record` or `error` is there."""

    pseudonym: str
    record: Revealed | None
    error: PiivaultError | None

    def unwrap(self) -> Revealed:
        """Return the record, or raise the error."""
        if self.record is None:
            raise self.error or PiivaultError("The item came without an outcome.")
        return self.record

    def __getitem__(self, name: str) -> Secret:
        return self.unwrap()[name]

    def __repr__(self) -> str:
        outcome = repr(self.record) if self.error is None else self.error.reason
        return f"RevealedItem(psn_…, {outcome})"


@dataclass(frozen=True, slots=True)
class PutItem:
    """What is written into one record, None for what is removed.

    The same item has the same request id whenever it is sent: so it is done once. Keep your own for
    what may be sent again after your process ended.
    """

    pseudonym: str = field(repr=False)
    fields: Mapping[str, str | None] = field(repr=False)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Put:
    """What became of an item: either the record's new `etag` or an `error` is there."""

    item: PutItem
    etag: str | None
    error: PiivaultError | None

    def unwrap(self) -> str:
        """Return the etag, or raise the error."""
        if self.etag is None:
            raise self.error or PiivaultError("The item came without an outcome.")
        return self.etag


@dataclass(frozen=True, slots=True)
class ConsentText:
    """A consent, with the text of the edition that it was given under.

    `as_shown` tells whether that text, in the consent's own language, is what was agreed to.
    """

    consent: ConsentState
    notice: Notice
    as_shown: bool


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SubjectView(Mapping[str, Secret | None]):
    """The subject's own record: every field asked for, None where nothing is held.

    Of an `erased` one, it is what the law has kept; `kept` says why, and until when.
    """

    fields: Mapping[str, Secret | None]
    kind: SubjectKind
    consents: tuple[ConsentState, ...]
    etag: str
    restricted: bool = False
    erased: bool = False
    kept: tuple[KeptByLaw, ...] = ()

    def __getitem__(self, name: str) -> Secret | None:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __repr__(self) -> str:
        return f"SubjectView({', '.join(self.fields)})"


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """One field as a purpose sees it."""

    name: str
    type: str
    form: Form
    voluntary: bool
    findable: bool


@dataclass(frozen=True, slots=True)
class Description:
    """What the caller may do in a compartment under a purpose, by the edition in force."""

    edition: int
    operations: frozenset[str]
    fields: tuple[FieldDescription, ...]
