"""The clauses of a city's privacy policy, what each promises, and what keeps it.

`tests/integration/test_clauses.py` walks them in order on the example. What it prints, and the
table of docs/clauses.md, are drawn from here:

    python -m tests.clauses        # writes docs/clauses.md anew
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

PAGE = Path(__file__).parents[1] / "docs/clauses.md"
KEPT = "clause"  # the property of a test that notes which case of which clause was kept


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause, in short; and what piivault does about it, each a case of the walk by its name."""

    number: str
    says: str
    does: tuple[tuple[str, str], ...]  # sentence, and the case that shows it


CLAUSES: tuple[Clause, ...] = (
    Clause("1.1 g", "The policy may change; a new edition is in force once it is posted.", (
        ("An edition is in force from a stated moment, never before it is posted.",
         "no_edition_before_it_is_posted"),
        ("An old consent doesn't stretch over what a new edition adds.",
         "an_old_consent_stays_what_it_was"),
        ("Every decision names the edition that it was made under.",
         "every_decision_names_its_edition"),
    )),
    Clause("1.2", "By accepting, the User consents to the stated purposes, and to disclosure in "
           "the listed cases.", (
        ("What is consented to is the notice of one purpose in one edition, word for word.",
         "consent_is_to_a_notice"),
        ("Disclosure to a third party that isn't listed is refused.",
         "an_unlisted_recipient_gets_nothing"),
    )),
    Clause("1.2, cookies", "Using the site with cookies is consent to processing their data.", (
        ("Cookie data lies apart: its identifiers lead to no account.",
         "a_cookie_is_no_account"),
    )),
    Clause("1.3", "The Administration doesn't check whether data is accurate.", (
        ("Values are kept as they were given; none is refused as untrue.",
         "values_stay_as_given"),
    )),
    Clause("2.1, 2.3", "Names, e-mail and telephone are given by the User, with consent.", (
        ("They are the required fields of a registration.", "the_form_asks_for_what_it_needs"),
    )),
    Clause("2.2", "There are forms to register a user and an enterprise.", (
        ("Enterprises are registered in a compartment of their own.",
         "an_enterprise_has_its_own_place"),
    )),
    Clause("2.3, voluntary", "Organisation, city and position are given of one's own will.", (
        ("They can be left out, added later, and taken away.", "what_is_voluntary_may_go"),
    )),
    Clause("2.4 a", "Processing is lawful and in good faith.", (
        ("A purpose without a lawful basis isn't accepted; notices say which it is.",
         "each_purpose_has_its_basis"),
    )),
    Clause("2.4 b", "Purposes are those declared when the data was collected.", (
        ("A purpose that wasn't declared reads nothing.", "no_purpose_but_the_declared"),
    )),
    Clause("2.4 c", "The volume and kind of data match the purpose.", (
        ("A purpose sees its fields alone, each in full, masked, or only whether it is there.",
         "a_purpose_sees_what_it_needs"),
    )),
    Clause("2.4 d", "Databases made for incompatible purposes aren't joined.", (
        ("An edition that lets one service or one owner reach two such compartments is refused.",
         "no_edition_lets_anybody_join"),
        ("One person's pseudonyms in two compartments have nothing in common.",
         "pseudonyms_do_not_meet"),
    )),
    Clause("2.5", "Data is processed to provide or sell services, with consent.", (
        ("Without that consent nothing is read for them, and from its withdrawal on.",
         "no_consent_no_reading"),
        ("Until a restriction is lifted, data is read only where the law or a life demands it.",
         "restricted_until_lifted"),
    )),
    Clause("3.1.1", "The User changes and supplements their own data.", (
        ("A change is made at once, and services see the new value.", "one_corrects_oneself"),
    )),
    Clause("3.1.2", "The User deletes their data; some services then become impossible.", (
        ("The record, its keys and index entries are gone; services are told that it was erased.",
         "erased_is_gone"),
        ("The erasure is confirmed by a signed receipt, of use without the operator.",
         "an_erasure_has_its_receipt"),
    )),
    Clause("3.1.3", "On request, the User is told about the processing of their data.", (
        ("A report says what is held, what for, and who read it; as a page to read and to print.",
         "a_report_says_who_read"),
        ("An export hands over all that is held, to the subject alone.",
         "an_export_hands_all_over"),
    )),
    Clause("4.1", "Data is protected, processing is checked internally, data is encrypted.", (
        ("No value stands in the database's files.", "what_is_stored_is_sealed"),
        ("Nothing is read that the audit trail doesn't have first.", "no_trail_no_reading"),
        ("The trail can be verified: a changed event is found.", "the_trail_can_be_verified"),
    )),
    Clause("5.1", "The law in force governs what the policy leaves open.", (
        ("The edition names its law; a request of the subject's is due within a week.",
         "the_law_is_named_and_its_term_kept"),
    )),
)  # fmt: skip

_PAGE = """\
# Clause by clause

For lawyers and privacy officers: what the privacy policy of the site of the city of Osh promises,
what piivault does so that the promise is kept, and the test that shows it. The policy as software
reads it is [`examples/osh/policy.yaml`](../examples/osh/policy.yaml). Each case is carried out on
the running service, in this order, by `tests/integration/test_clauses.py`; `make clauses` runs them
and prints this table with what came of each.

{table}

What a clause leaves to people stays with them: whether a purpose is right, whether officers read
the trail, what a service does with a value that it read. [The threat model](threat-model.md) says
what remains.
"""


def page() -> str:
    """Write docs/clauses.md."""
    rows = ["| clause | the policy says | piivault | shown by |", "|---|---|---|---|"]
    for clause in CLAUSES:
        for n, (sentence, case) in enumerate(clause.does):
            first = (clause.number, clause.says) if n == 0 else ("", "")
            rows.append(f"| {first[0]} | {first[1]} | {sentence} | `{case}` |")
    return _PAGE.format(table="\n".join(rows))


def table(kept: Iterable[str]) -> str:
    """Draw what came of the cases, clause by clause."""
    there = set(kept)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_lines=False)
    for heading, width in (("clause", 14), ("the policy says", 40), ("piivault", 50), ("kept", 5)):
        drawn.add_column(heading, width=width)
    for clause in CLAUSES:
        for n, (sentence, case) in enumerate(clause.does):
            first = (clause.number, clause.says) if n == 0 else ("", "")
            drawn.add_row(*first, sentence, "yes" if case in there else "NO")
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get()


class Walked:
    """Gathers which cases were kept, across processes, and prints the table at the end."""

    def __init__(self) -> None:
        self.seen = False
        self.kept: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cases = [str(value) for name, value in report.user_properties if name == KEPT]
        self.seen = self.seen or bool(cases)
        if report.when == "call" and report.passed:
            self.kept += cases

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.seen:
            terminalreporter.section("the policy, clause by clause")
            terminalreporter.write(table(self.kept))


def cases() -> Sequence[str]:
    """Return the names of all cases, in the order of the clauses."""
    return [case for clause in CLAUSES for _, case in clause.does]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
