"""The contract's key server: `make contract`."""

from collections.abc import Iterator

import pytest

from tests.contract.server import Contract, started


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with started(tmp_path_factory.mktemp("contract") / "state") as opened:
        opened.set_up()
        try:
            yield opened
        finally:
            opened.tear_down()
            assert opened.leftovers() == []
            opened.admin.close()
