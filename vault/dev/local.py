"""Everything on this machine, the gRPC server included, while a context lasts.

    with local(Path(".piivault"), Path("examples/osh/policy.yaml")) as running:
        client = piivault.Client(running.grpc_address, tls=…)

`piivault dev`, the demo, the tests and the benchmark all start it like this.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vault import app, config
from vault.dev.errors import DevError
from vault.dev.stack import CONTROL, Plan, Running, Stack
from vault.policy import Edition, compile_edition
from vault.service.editions import Editions
from vault.service.ledger import EDITION, statement
from vault.store import schema
from vault.store.control import ControlChain
from vault.store.engine import connect
from vault.store.schema import Schema

Progress = Callable[[str], None]
_START_SECONDS = 30


@contextmanager
def local(
    state: Path, policy: Path, *, postgres: bool = False, progress: Progress = lambda step: None
) -> Iterator[Running]:
    """Start the stack and the server; stop all of it at the end.

    Raises DevError, EditionError, StartError.
    """
    with prepared(state, policy, postgres=postgres, progress=progress) as running:
        progress("starting the gRPC server")
        with serving(config.load(running.config, {})):
            yield running


@contextmanager
def prepared(
    state: Path, policy: Path, *, postgres: bool = False, progress: Progress = lambda step: None
) -> Iterator[Running]:
    """Start all but the gRPC server: the stack, its schema, its first edition.

    Raises DevError, EditionError.
    """
    text = policy.read_text(encoding="utf-8")
    edition = compile_edition(text)
    with Stack(state, plan_of(edition), postgres=postgres, progress=progress) as running:
        settings = config.load(running.config, {})
        progress("bringing the databases up to date")
        asyncio.run(_prepare(running, settings, text))
        yield running


def plan_of(edition: Edition) -> Plan:
    """Return what the stack has to know of an edition."""
    services = {service.name: service.spiffe for service in edition.services.values()}
    return Plan(edition.trust_domain, tuple(edition.compartments), services)


@contextmanager
def serving(settings: config.Settings) -> Iterator[int]:
    """Run the server on a thread with an event loop of its own; yields its port."""
    port: Future[int] = Future()
    stop: Future[Callable[[], object]] = Future()
    thread = threading.Thread(target=_serve, args=(settings, port, stop), name="piivault-server")
    thread.start()
    try:
        yield port.result(_START_SECONDS)
    finally:
        if port.done() and port.exception() is None:
            stop.result(_START_SECONDS)()
        thread.join()


def officer_signs(running: Running, officer: str) -> Callable[[bytes], bytes]:
    """Return a function that signs as an officer, with the key file that the stack made."""
    file = running.config.parent / "officers" / f"{officer}.pem"
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise DevError(f"{file} holds no ed25519 key. Remove it: the next start makes a new one.")
    return key.sign


def _serve(
    settings: config.Settings, port: Future[int], stop: Future[Callable[[], object]]
) -> None:
    async def main() -> None:
        loop, leave = asyncio.get_running_loop(), asyncio.Event()
        stop.set_result(lambda: loop.call_soon_threadsafe(leave.set))
        async with app.running(settings) as bound:
            port.set_result(bound)
            await leave.wait()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except BaseException as e:
        if port.done():
            raise
        port.set_exception(e)


async def _prepare(running: Running, settings: config.Settings, text: str) -> None:
    """Run migrations as the owner, give workers their rights, publish the first edition."""
    for name, url in running.owner_urls.items():
        kind = Schema.CONTROL if name == CONTROL else Schema.COMPARTMENT
        database = connect(url)
        try:
            await schema.upgrade(database, kind)
            if database.is_postgresql:
                await schema.grant(database, kind, f"piivault_{name}")
        finally:
            await database.close()
    await _publish_first(running, settings, text)


async def _publish_first(running: Running, settings: config.Settings, text: str) -> None:
    database = connect(running.owner_urls[CONTROL])
    try:
        editions = Editions(ControlChain(database), app.officer_keys(settings))
        await editions.refresh()
        if editions.ledger.newest is None:
            body = text.encode()
            signed = officer_signs(running, "aida")(statement(EDITION, body))
            await editions.add(lambda ledger: ledger.next(EDITION, body, {"aida": signed}))
    finally:
        await database.close()
