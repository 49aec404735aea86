"""What the SDK's tests share: a certificate authority, a small server, and both clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from piivault import TLS, AsyncClient, Client

from .house import House, Sdk
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
