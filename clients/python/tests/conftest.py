"""What the SDK's tests share: a certificate authority, a small server, and both clients."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from piivault import TLS, AsyncClient, Client, new_root

from .house import PATIENT, House, Sdk
from .pki import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def portal(authority: Authority) -> TLS:
    return authority.client()


@pytest.fixture
def house(authority: Authority) -> Iterator[House]:
    house = House(authority.server())
    yield house
    house.stop()


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def sdk(request: pytest.FixtureRequest) -> Iterator[Sdk]:
    sdk = Sdk(request.param)
    yield sdk
    sdk.close()


@pytest.fixture
def vault(sdk: Sdk, house: House, portal: TLS) -> Any:
    return sdk.open(house.address, portal, timeout=PATIENT)


@pytest.fixture
def accounts(vault: Any) -> Any:
    return vault.compartment("accounts", purpose="services")


@pytest.fixture
def person(vault: Any) -> Any:
    return vault.subject(new_root())
