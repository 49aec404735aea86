"""What may be done with personal data, and by whom: pure, and decided before data is seen.

    edition = compile_edition(text)                                    # or EditionError
    orders = edition.service_of("spiffe://oshto.kg/orders")
    decide(edition, orders, "services", "accounts", Operation.REVEAL, ["phone"])

An edition is written as `document` says, read by `parse`, held against `rules` and `clique`,
against the editions before it in `succession`, and compiled into `edition`. `decide` and
`consent` answer requests; `notice`, `holdings` and `processing` tell subjects; `due` tells the
sweeper. For people there are `explain`, `diff` and `graph`, and for their editors `schema`.
"""

from vault.policy.clique import Conflict, Holder, conflicts, reach
from vault.policy.compile import compile_edition, compile_successor
from vault.policy.consent import Covered, ask_again, check_consent, check_recipient, terms
from vault.policy.decide import (
    Allowed,
    Denied,
    Description,
    FieldDescription,
    decide,
    denied,
    describe,
)
from vault.policy.diff import Change, Concerns, diff
from vault.policy.due import due
from vault.policy.edition import (
    Compartment,
    Edition,
    Field,
    FieldUse,
    Forbid,
    Grant,
    Limit,
    Purpose,
    Service,
    Terms,
    Use,
)
from vault.policy.explain import Step, explain
from vault.policy.faults import EditionError, Fault
from vault.policy.graph import graph
from vault.policy.holdings import Held, HeldByLaw, Record, holdings
from vault.policy.holdings_form import Asked, Holdings, holdings_schema, rfc3339
from vault.policy.keeping import Kept, kept_by_law, may_keep
from vault.policy.masks import mask
from vault.policy.notice import Notice, notice, notices, verify_notice
from vault.policy.processing import (
    Agreed,
    ForPurpose,
    HeldField,
    Named,
    Processing,
    RecordHeld,
    SeenField,
    check_language,
    field_named,
    owner_title,
    processing,
    purpose_title,
    recipient_title,
)
from vault.policy.schema import edition_schema
from vault.policy.succession import WORKERS, check_succession, needs_officers
from vault.policy.told import ConsentGiven
from vault.policy.values import check_value
from vault.policy.vocabulary import (
    Basis,
    FieldType,
    Form,
    Index,
    Operation,
    Retention,
    SubjectKind,
    Text,
)

__all__ = [
    # An edition, and how it is made
    "compile_edition", "EditionError", "Fault", "edition_schema",
    "Edition", "Compartment", "Field", "Purpose", "Use", "FieldUse", "Terms",
    "Service", "Limit", "Grant", "Forbid",
    # An edition after another
    "compile_successor", "check_succession", "needs_officers", "WORKERS",
    "diff", "Change", "Concerns",
    # Its words
    "Basis", "FieldType", "Form", "Index", "Operation", "Retention", "SubjectKind", "Text",
    # Who may
    "decide", "denied", "describe", "Allowed", "Denied", "Description", "FieldDescription",
    "explain", "Step", "graph",
    # What the subject was told, and agreed to
    "check_consent", "check_recipient", "ask_again", "Covered", "ConsentGiven", "terms",
    "notice", "notices", "verify_notice", "Notice",
    # What they are handed
    "holdings", "holdings_schema", "Holdings", "Record", "Held", "HeldByLaw", "Asked", "rfc3339",
    # What is done with their data
    "check_language", "processing", "Processing", "RecordHeld", "HeldField", "SeenField",
    "ForPurpose", "Agreed", "Named",
    "field_named", "owner_title", "purpose_title", "recipient_title",
    # What is to be erased
    "due", "kept_by_law", "may_keep", "Kept",
    # Values
    "check_value", "mask",
    # Who would hold what
    "reach", "conflicts", "Conflict", "Holder",
]  # fmt: skip
