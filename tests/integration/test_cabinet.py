"""What docs/cabinet.md shows of enterprises and their representatives, run as it stands there."""

import re
import textwrap
from pathlib import Path
from typing import Any

import piivault
import pytest
from piivault import errors

from tests.house import House
from tests.people import new_values
from vault.names import Pseudonym

PAGE = (Path(__file__).parents[2] / "docs/cabinet.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Enterprises and those who represent them\n")[1]


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """The page's own code, executed."""
    block = re.search(r"\n((?:    .*\n|\n)+)", SECTION)
    assert block is not None
    names: dict[str, Any] = {"piivault": piivault}
    exec(compile(textwrap.dedent(block[1]), "docs/cabinet.md", "exec"), names)
    return names


def test_a_representative_acts_for_the_enterprise_and_nothing_links_them(
    sqlite_house: House, shown: dict[str, Any]
) -> None:
    house = sqlite_house
    person = house.register("accounts")
    bakery = house.register("enterprises", contact_person=person.values["last_name"])
    mandates = [shown["Mandate"]("account-7", bakery.root)]
    vault = house.client("portal")
    acting = shown["enterprise_of"](vault, "account-7", mandates)
    acting.put("enterprises", {"email": new_values("enterprises")["email"]})
    view = acting.view("enterprises")
    contact = view["contact_person"]
    assert view.kind == "enterprise"
    assert contact is not None
    assert contact.expose() == person.values["last_name"]

    with pytest.raises(PermissionError):
        shown["enterprise_of"](vault, "account-8", mandates)
    with pytest.raises(errors.NotFound):  # the person is nobody among enterprises, and vice versa
        person.subject.view("enterprises")
    with pytest.raises(errors.NotFound):
        acting.view("accounts")
    for compartment, other in (("enterprises", person), ("accounts", bakery)):
        raw = Pseudonym.parse(other.pseudonym).raw
        for table in ("records", "data_keys", "blind_index"):
            rows = house.sql(compartment, f"SELECT * FROM {table}")
            assert not [row for row in rows for cell in row if cell == raw]

    person.subject.erase("accounts")
    assert acting.view("enterprises")["contact_person"] is not None
