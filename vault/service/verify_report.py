"""What `verify` found: kinds of damage, where each is, and how much was looked at."""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

MOST_FINDINGS = 1000  # that are listed; all are counted


class Kind(StrEnum):
    """What can be wrong."""

    DAMAGED_RECORD = "damaged-record"
    DAMAGED_FIELD = "damaged-field"
    DAMAGED_DATA_KEY = "damaged-data-key"
    DAMAGED_KEY = "damaged-key"
    DAMAGED_EVENT = "damaged-event"
    MISSING_DATA_KEY = "missing-data-key"
    DANGLING_DATA_KEY = "dangling-data-key"
    WRONG_INDEX = "wrong-index-row"
    MISSING_INDEX = "missing-index-row"
    DANGLING_INDEX = "dangling-index-row"
    ROLLBACK = "rollback"
    ERASED_BACK = "erased-record-back"
    UNKNOWN_CHANGE = "unknown-change"

    @property
    def sentence(self) -> str:
        """What it means, in one sentence."""
        return _SENTENCES[self]


_SENTENCES = {
    Kind.DAMAGED_RECORD: "the record envelope doesn't open: altered, moved, or under another key",
    Kind.DAMAGED_FIELD: "a field envelope doesn't open, though its record does",
    Kind.DAMAGED_DATA_KEY: "the wrapped data key doesn't open: altered or moved",
    Kind.DAMAGED_KEY: "the KEK or index key that it needs doesn't open or isn't in the keyring",
    Kind.DAMAGED_EVENT: "an event of the audit trail doesn't open: altered or moved",
    Kind.MISSING_DATA_KEY: "the data key that the record is sealed under isn't there",
    Kind.DANGLING_DATA_KEY: "a data key without a record: an erased subject's, put back?",
    Kind.WRONG_INDEX: "an index row doesn't have the value that the record has",
    Kind.MISSING_INDEX: "an indexed value has no index row: Find misses it, and it isn't unique",
    Kind.DANGLING_INDEX: "an index row points to no record, or to one without such a value",
    Kind.ROLLBACK: "an old row: the trail says that it was replaced",
    Kind.ERASED_BACK: "an erased record: it was put back after its subject erased it",
    Kind.UNKNOWN_CHANGE: "no event of the trail says that anybody wrote this row",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the row: the one whose `column` begins with `begins`, in hex.

    The column is a random or keyed one, never the pseudonym. `field` names a field, if any.
    """

    kind: Kind
    table: str
    column: str
    begins: str
    field: str = ""


@dataclass(slots=True)
class Report:
    """What was looked at, and what is wrong with it.

    opened        records whose every envelope opened
    compared      records whose rows were held against the trail
    trail         whether rows were held against the trail at all
    not_covered   records that last changed before the trail begins
    unopened      records whose KEK is suspended or destroyed, by that reason: no fault of theirs;
                  and versions of the audit key that are, whose events aren't read
    events        of the trail, where all of it was read
    """

    compartment: str
    total: int = 0
    records: int = 0
    opened: int = 0
    data_keys: int = 0
    fields: int = 0
    index_rows: int = 0
    compared: int = 0
    not_covered: int = 0
    events: int = 0
    trail: bool = False
    unopened: Counter[str] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong with what was looked at."""
        return not self.counts

    def to_tree(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        tree = {f.name: getattr(self, f.name) for f in fields(self)}
        counts = {kind.value: self.counts[kind] for kind in sorted(self.counts)}
        findings = [asdict(finding) for finding in self.findings]
        unopened = dict(self.unopened)
        changed = {"counts": counts, "findings": findings, "unopened": unopened}
        return tree | changed | {"clean": self.is_clean}

    def add(self, finding: Finding) -> None:
        """Count a finding; list it, if not too many are."""
        self.counts[finding.kind] += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
