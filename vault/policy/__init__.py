"""What may be done with personal data, and by whom: pure, and decided before data is seen.

    edition = compile_edition(text)                                    # or EditionError
    orders = edition.service_of("spiffe://oshto.kg/orders")
    decide(edition, orders, "services", "accounts", Operation.REVEAL, ["phone"])

An edition is written as `document` says, read by `parse`, held against `rules` and `clique`,
and compiled into `edition`. `decide` and `consent` answer requests; `notice` tells subjects.
"""

from vault.policy.clique import Conflict, Holder, conflicts, reach
from vault.policy.compile import compile_edition
from vault.policy.consent import ConsentGiven, check_consent, terms
from vault.policy.decide import Allowed, Denied, Description, FieldDescription, decide, describe
from vault.policy.edition import (
    Compartment,
    Edition,
    Field,
    FieldUse,
    Purpose,
    Service,
    Terms,
    Use,
)
from vault.policy.explain import Step, explain
from vault.policy.faults import EditionError, Fault
from vault.policy.masks import mask
from vault.policy.notice import Notice, notice, notices, verify_notice
from vault.policy.succession import check_succession, needs_officers
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
    "compile_edition", "EditionError", "Fault",
    "Edition", "Compartment", "Field", "Purpose", "Use", "FieldUse", "Service", "Terms",
    # Its words
    "Basis", "FieldType", "Form", "Index", "Operation", "Retention", "SubjectKind", "Text",
    # Who may
    "decide", "describe", "Allowed", "Denied", "Description", "FieldDescription",
    "explain", "Step",
    # What the subject was told, and agreed to
    "check_consent", "ConsentGiven", "terms", "notice", "notices", "verify_notice", "Notice",
    # Values
    "check_value", "mask",
    # An edition after another
    "check_succession", "needs_officers",
    # Who would hold what
    "reach", "conflicts", "Conflict", "Holder",
]  # fmt: skip
