"""The clients: one written on the generated stubs, so that the SDK's own work doesn't count."""

import itertools
import shlex
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from piivault import TLS
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import record_service_pb2_grpc as pb_grpc
from piivault.v1 import types_pb2

from tests.bench.population import REVEALED, values
from tests.bench.sample import Call
from vault.dev import Running
from vault.names import Pseudonym

_DEADLINE = 30.0  # seconds a call
_A_MESSAGE = 125  # items; the SDK sends up to 128 in one


def tls(running: Running, service: str) -> TLS:
    """Return a service's certificate."""
    folder = running.config.parent / "certificates"
    return TLS(running.ca, folder / f"service-{service}.pem", folder / f"service-{service}.key")


def channel(address: str, identity: TLS) -> grpc.aio.Channel:
    """Open a bare channel."""
    ca, key, certificate = (
        Path(file).read_bytes()
        for file in (identity.ca, identity.private_key, identity.certificate)
    )
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca, key, certificate))


def revealing(connection: grpc.aio.Channel, requests: Iterator[pb.RevealRequest]) -> Call:
    """Return a call that reveals what is asked for next."""
    stub = pb_grpc.RecordServiceStub(connection)
    return lambda: stub.Reveal(next(requests), timeout=_DEADLINE)


def requests(compartment: str, pseudonyms: Sequence[str]) -> Iterator[pb.RevealRequest]:
    """Ask for everybody in turn, for ever."""
    return itertools.cycle(
        [
            pb.RevealRequest(
                compartment=compartment, purpose="service", pseudonym=pseudonym, fields=REVEALED
            )
            for pseudonym in pseudonyms
        ]
    )


def batching(
    connection: grpc.aio.Channel,
    compartment: str,
    pseudonyms: Sequence[str],
    each: int,
    purpose: str = "service",
    fields: Sequence[str] = REVEALED,
) -> Call:
    """Return a call that reveals so many at once."""
    stub = pb_grpc.RecordServiceStub(connection)
    asked = itertools.cycle(
        [
            pb.BatchRevealRequest(
                compartment=compartment,
                purpose=purpose,
                pseudonyms=pseudonyms[start : start + each],
                fields=fields,
            )
            for start in range(0, len(pseudonyms) - each, each)
        ]
    )

    async def call() -> None:
        answer = await stub.BatchReveal(next(asked), timeout=_DEADLINE)
        assert all(result.HasField("record") for result in answer.results)

    return call


def streaming(
    connection: grpc.aio.Channel, compartment: str, pseudonyms: Sequence[str], each: int
) -> Call:
    """Return a call that reveals so many in a stream of their own."""
    stub = pb_grpc.RecordServiceStub(connection)
    start = pb.StreamRevealStart(compartment=compartment, purpose="service", fields=REVEALED)
    turn = itertools.cycle(pseudonyms)

    async def call() -> None:
        asked = [pb.StreamRevealRequest(pseudonym=next(turn)) for _ in range(each)]
        answers = stub.StreamReveal(iter([pb.StreamRevealRequest(start=start), *asked]))
        assert [answer.HasField("record") async for answer in answers] == [True] * each

    return call


def putting(
    connection: grpc.aio.Channel, compartment: str, pseudonyms: Sequence[str], each: int
) -> Call:
    """Return a call that writes all six fields of so many records in a stream of their own.

    Each time everybody has another e-mail address, which is unique, and another telephone number:
    the rows of both indexes go, and others come.
    """
    stub = pb_grpc.RecordServiceStub(connection)
    start = pb.BulkPutStart(compartment=compartment, purpose="register")
    turns = itertools.count(1)
    people = ((n, p, turn) for turn in turns for n, p in enumerate(pseudonyms))

    async def call() -> None:
        items = [
            pb.BulkPutItem(
                request_id=str(uuid.uuid4()), pseudonym=pseudonym, fields=_fields(number, turn)
            )
            for number, pseudonym, turn in itertools.islice(people, each)
        ]
        sent = (
            pb.BulkPutRequest(items=pb.BulkPutItems(items=items[place : place + _A_MESSAGE]))
            for place in range(0, each, _A_MESSAGE)
        )
        answers = stub.BulkPut(itertools.chain([pb.BulkPutRequest(start=start)], sent))
        done = [one.HasField("etag") async for answer in answers for one in answer.results]
        assert done == [True] * each

    return call


def _fields(number: int, turn: int) -> list[types_pb2.FieldValue]:
    new = {"email": f"aigul.{number}.{turn}@example.kg", "phone": values(number + turn)["phone"]}
    held = {**values(number), **new}.items()
    return [types_pb2.FieldValue(name=name, value=value) for name, value in held]


def officer(running: Running, address: str) -> dict[str, str]:
    """Return an officer's environment, for the process at an address."""
    lines = running.environments["officer-aida"].read_text(encoding="utf-8").splitlines()
    exports = (shlex.split(line)[1] for line in lines if line.startswith("export "))
    return {**dict(export.split("=", 1) for export in exports), "PIIVAULT_ADDRESS": address}


def written(pseudonym: bytes) -> str:
    """Return a pseudonym as it is written."""
    return str(Pseudonym(pseudonym))
