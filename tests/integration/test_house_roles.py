"""What a process serves in each role: its services, its health, and reflection in development."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import piivault
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from piivault import errors

from tests.house import House
from tests.wire import PATIENCE, open_channel
from vault.dev.local import serving

POLICY, PSEUDONYM, RECORD, SUBJECT = (
    f"piivault.v1.{name}Service" for name in ("Policy", "Pseudonym", "Record", "Subject")
)
ALL = {POLICY, PSEUDONYM, RECORD, SUBJECT}
ROLES: dict[str, tuple[str, set[str]]] = {
    "a worker": ("worker", {RECORD, SUBJECT}),
    "the broker": ("broker", {PSEUDONYM}),
    "control": ("control", {POLICY}),
}


def _serving(channel: grpc.Channel) -> set[str]:
    """Ask the health service; what isn't served is unknown to it."""
    stub = health_pb2_grpc.HealthStub(channel)
    found = set()
    for name in ALL:
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
            continue
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        found.add(name)
    whole = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert whole.status == health_pb2.HealthCheckResponse.SERVING
    return found


def _reflected(channel: grpc.Channel) -> set[str]:
    """Ask for the names of all services by reflection; raise grpc.RpcError where there is none."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(iter([ask]), timeout=PATIENCE)
    return {service.name for service in answer.list_services_response.service}


def test_in_development_one_process_plays_all_roles(house: House) -> None:
    channel = house.channel("orders")
    assert _serving(channel) == ALL
    assert _reflected(channel) > ALL


@contextmanager
def _outside_development(house: House, role: str) -> Iterator[str]:
    """Run one role as it would be run for real; a worker of two joinable compartments."""
    settings = house.configured(SERVER__DEVELOPMENT="false", SERVER__ROLES=role)
    pair = {name: settings.compartments[name] for name in ("accounts", "orders")}
    with serving(settings.model_copy(update={"compartments": pair})) as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize(("role", "services"), ROLES.values(), ids=ROLES)
def test_outside_development_a_process_serves_its_role_alone(
    sqlite_house: House, role: str, services: set[str]
) -> None:
    """And no reflection: what it serves is not told to whoever asks."""
    with (
        _outside_development(sqlite_house, role) as address,
        open_channel(address, sqlite_house.tls("orders")) as channel,
    ):
        assert _serving(channel) == services
        with pytest.raises(grpc.RpcError) as caught:
            _reflected(channel)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_the_sdk_goes_to_broker_and_worker_apart(sqlite_house: House) -> None:
    """A deployment of processes of their own, with the same data."""
    house, known = sqlite_house, sqlite_house.register()
    with (
        _outside_development(house, "worker") as at_worker,
        _outside_development(house, "broker") as at_broker,
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
            piivault.Client(at_worker, tls=house.tls("portal")) as lost,
            pytest.raises(errors.InternalError, match="plays another role"),
        ):
            lost.subject(known.root).pseudonym("accounts")
