"""The example's policy with purposes that the law demands, and a house that runs it.

`archive` keeps a person's last name, `taxes` an enterprise's taxpayer number: for years after an
erasure, under that purpose alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.house import POLICY, House, run_house

_OWNER = """
  state_archive:
    id: 1b6d9f2e-6a0c-4d0b-9c55-2f8e7a1d4b90
    title: {ky: Архив, ru: Архив, en: Archive}

compartments:
"""
_PURPOSES = """
  archive:
    title: {ky: Мамлекеттик архив, ru: Государственный архив, en: State archive}
    description:
      ky: Мыйзам талап кылган маалыматтар сакталат.
      ru: Хранится то, чего требует закон.
      en: What the law demands is kept.
    basis: legal_obligation
    uses:
      accounts:
        retention: 5 years
        fields: {last_name: plain, first_name: plain, email: masked}
        kept_after_erasure: [last_name, email]

  taxes:
    title: {ky: Салык эсеби, ru: Налоговый учёт, en: Tax records}
    description:
      ky: Мыйзам талап кылган маалыматтар сакталат.
      ru: Хранится то, чего требует закон.
      en: What the law demands is kept.
    basis: legal_obligation
    uses:
      enterprises:
        retention: 6 years
        fields: {name: plain, tax_id: plain}
        kept_after_erasure: [tax_id]

# 1.2: third parties"""
_SERVICE = """\
  archive: {owner: state_archive, spiffe: spiffe://oshto.kg/archive}
  orders: {owner: municipal"""
_GRANTS = """
  - service: archive
    purpose: archive
    compartment: accounts
    operations: [reveal, put, find, list]
"""


def policy() -> str:
    """Write it."""
    text = POLICY.read_text(encoding="utf-8")
    for old, new in (
        ("\ncompartments:\n", _OWNER),
        ("\n# 1.2: third parties", _PURPOSES),
        (
            "  orders: {owner: municipal",
            _SERVICE,
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text.rstrip("\n") + _GRANTS


@contextmanager
def keeping_house(folder: Path, *, postgres: bool) -> Iterator[House]:
    """Run a house in a folder under that policy."""
    file = folder / "policy.yaml"
    file.write_text(policy(), encoding="utf-8")
    with run_house(folder / "state", postgres=postgres, policy=file) as house:
        yield house
