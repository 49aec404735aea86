"""What a process serves in each role: its services, its health, and reflection in development."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import piivault
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from piivault import errors

from tests.house import House
from tests.wire import PATIENCE, open_channel
from vault.dev.local import serving

AUDIT, KEY, POLICY, PSEUDONYM, RECORD, SUBJECT = (
    f"piivault.v1.{name}Service"
    for name in ("Audit", "Key", "Policy", "Pseudonym", "Record", "Subject")
)
ALL = {AUDIT, KEY, POLICY, PSEUDONYM, RECORD, SUBJECT}
ROLES: dict[str, tuple[str, set[str]]] = {
    "a worker": ("worker", {KEY, RECORD, SUBJECT}),
    "the broker": ("broker", {PSEUDONYM}),
    "control": ("control", {POLICY}),
    "the auditor": ("auditor", {AUDIT}),
}


def _serving(channel: grpc.Channel) -> set[str]:
    """Ask the health service; what isn't served is unknown to it."""
    stub: Any = health_pb2_grpc.HealthStub(channel)

    def is_serving(name: str) -> bool:
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    ends = time.monotonic() + PATIENCE  # a test before may have taken the trail away
    while not is_serving(""):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return {name for name in ALL if is_serving(name)}


def _reflected(channel: grpc.Channel) -> set[str]:
    """Ask for the names of all services by reflection; raise grpc.RpcError where there is none."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(iter([ask]), timeout=PATIENCE)
    return {service.name for service in answer.list_services_response.service}


def test_in_development_one_process_plays_all_roles(house: House) -> None:
    channel = house.channel("orders")
    assert _serving(channel) == ALL
    assert _reflected(channel) > ALL


@contextmanager
def _playing(house: House, role: str) -> Iterator[str]:
    """Run one role alone; outside development see test_split.py."""
    settings = house.configured(SERVER__ROLES=role)
    pair = {name: settings.compartments[name] for name in ("accounts", "orders")}
    with serving(settings.model_copy(update={"compartments": pair})) as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize(("role", "services"), ROLES.values(), ids=ROLES)
def test_a_process_serves_its_role_alone(
    sqlite_house: House, role: str, services: set[str]
) -> None:
    with (
        _playing(sqlite_house, role) as address,
        open_channel(address, sqlite_house.tls("orders")) as channel,
    ):
        assert _serving(channel) == services


def test_the_sdk_goes_to_broker_and_worker_apart(sqlite_house: House) -> None:
    """A deployment of processes of their own, with the same data."""
    house, known = sqlite_house, sqlite_house.register()
    with (
        _playing(house, "worker") as at_worker,
        _playing(house, "broker") as at_broker,
        piivault.Client(
            at_worker, tls=house.tls("portal"), broker_address=at_broker, timeout=PATIENCE
        ) as portal,
        piivault.Client(at_worker, tls=house.tls("orders"), timeout=PATIENCE) as orders,
    ):
        person = portal.subject(known.root)
        assert person.pseudonym("accounts") == known.pseudonym
        assert person.view("accounts").etag == known.etag
        accounts = orders.compartment("accounts", purpose="services")
        assert accounts.reveal(known.pseudonym, ["phone"])["phone"].expose()
        with pytest.raises(errors.UnknownName, match="isn't served by this process"):
            portal.subject(known.root).view("web")
        with (
            piivault.Client(at_worker, tls=house.tls("portal"), timeout=PATIENCE) as lost,
            pytest.raises(errors.InternalError, match="plays another role"),
        ):
            lost.subject(known.root).pseudonym("accounts")
