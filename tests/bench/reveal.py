"""Unary Reveal (two fields, durable audit, PostgreSQL, mutual TLS) against a bare echo.

Both are measured in one run, turn by turn, by one client written on the generated stubs; the
figures to trust are the ratios.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from piivault import TLS, AsyncClient, new_root
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import record_service_pb2_grpc as pb_grpc

from tests.bench.processes import echo
from tests.bench.sample import Call, Sample, measure
from vault.dev import Running

PERSONS = 2_000
IN_FLIGHT = (1, 16, 64)
SDK_IN_FLIGHT = 16
ROUNDS = 5
FIELDS = ("first_name", "phone")
_LOADING = 32  # registrations under way
_WARM_UP = 0.5  # seconds
_DEADLINE = 5.0  # seconds a call

Progress = Callable[[str], None]


@dataclass(slots=True)
class Line:
    """What is compared to the echo, at one number of calls in flight; a sample a round of each."""

    title: str
    in_flight: int
    call: Call
    echo: list[Sample] = field(default_factory=list)
    reveal: list[Sample] = field(default_factory=list)


async def compare(running: Running, seconds: float, progress: Progress) -> list[Line]:
    """Load the persons and measure for so many seconds in all."""
    progress(f"registering {PERSONS:,} persons")
    pseudonyms = await _load(running)
    async with AsyncExitStack() as stack:
        tls = _tls(running, "orders")
        revealing = await stack.enter_async_context(_channel(running.grpc_address, tls))
        requests = _requests(pseudonyms)
        reveal = _call(revealing, requests)
        answer = await pb_grpc.RecordServiceStub(revealing).Reveal(next(requests))
        address = stack.enter_context(echo(running, answer))
        echoing = _call(await stack.enter_async_context(_channel(address, tls)), requests)
        sdk = await stack.enter_async_context(AsyncClient(running.grpc_address, tls=tls))
        lines = [Line("Reveal", in_flight, reveal) for in_flight in IN_FLIGHT]
        lines.append(Line("Reveal by AsyncClient", SDK_IN_FLIGHT, _by_sdk(sdk, pseudonyms)))
        for call in (echoing, *(line.call for line in lines)):
            await measure(call, max(IN_FLIGHT), _WARM_UP)
        for turn in range(1, ROUNDS + 1):
            progress(f"measuring, round {turn} of {ROUNDS}")
            await _round(lines, echoing, seconds / ROUNDS / len(lines) / 2)
        return lines


async def _round(lines: list[Line], echoing: Call, seconds: float) -> None:
    for line in lines:
        line.echo.append(await measure(echoing, line.in_flight, seconds))
        line.reveal.append(await measure(line.call, line.in_flight, seconds))


def _requests(pseudonyms: list[str]) -> Iterator[pb.RevealRequest]:
    requests = [
        pb.RevealRequest(
            compartment="accounts", purpose="services", pseudonym=pseudonym, fields=FIELDS
        )
        for pseudonym in pseudonyms
    ]
    return itertools.cycle(requests)


def _call(channel: grpc.aio.Channel, requests: Iterator[pb.RevealRequest]) -> Call:
    stub = pb_grpc.RecordServiceStub(channel)
    return lambda: stub.Reveal(next(requests), timeout=_DEADLINE)


def _by_sdk(client: AsyncClient, pseudonyms: list[str]) -> Call:
    accounts = client.compartment("accounts", purpose="services")
    turn = itertools.cycle(pseudonyms)
    return lambda: accounts.reveal(next(turn), FIELDS)


async def _load(running: Running) -> list[str]:
    """Register the persons, as the portal does; return their pseudonyms in no order."""
    pseudonyms: list[str] = []
    numbers = iter(range(PERSONS))
    async with AsyncClient(running.grpc_address, tls=_tls(running, "portal"), timeout=30) as portal:
        notices = await portal.notices("accounts", "ky")
        consents = [n.accept() for n in notices if n.purpose in ("account", "services")]

        async def register() -> None:
            for number in numbers:  # shared: each registers whoever comes next
                person = portal.subject(new_root())
                await person.register("accounts", _person(number), consents)
                pseudonyms.append(await person.pseudonym("accounts"))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_LOADING):
                tasks.create_task(register())
    random.shuffle(pseudonyms)
    return pseudonyms


def _person(number: int) -> dict[str, str]:
    return {
        "last_name": "Токтогулова",
        "first_name": "Айгүл",
        "patronymic": "Асан кызы",
        "email": f"aigul.{number}@example.kg",
        "phone": f"+996 555 {number:06d}",
    }


def _tls(running: Running, service: str) -> TLS:
    folder = running.config.parent / "certificates"
    return TLS(running.ca, folder / f"service-{service}.pem", folder / f"service-{service}.key")


def _channel(address: str, tls: TLS) -> grpc.aio.Channel:
    ca, key, certificate = (
        Path(file).read_bytes() for file in (tls.ca, tls.private_key, tls.certificate)
    )
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca, key, certificate))
