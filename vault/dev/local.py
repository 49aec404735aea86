"""Everything on this machine, the gRPC server included, while a context lasts.

    with local(Path(".piivault"), Path("examples/osh/policy.yaml")) as running:
        client = piivault.Client(running.grpc_address, tls=…)

`piivault dev`, the demo, the tests and the benchmark all start it like this.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vault import app, config
from vault.dev.child import START_SECONDS
from vault.dev.errors import DevError
from vault.dev.layout import Layout
from vault.dev.plan import Plan
from vault.dev.served import Served
from vault.dev.stack import Running, Stack
from vault.names import BROKER
from vault.policy import Edition, compile_edition
from vault.service.ledger import EDITION, statement
from vault.setup.configuration import Section
from vault.store import rights, role_sql, schema
from vault.store.engine import connect
from vault.store.rights import CONTROL, database_of

Progress = Callable[[str], None]


@contextmanager
def local(
    state: Path,
    policy: Path,
    *,
    postgres: bool = False,
    identity_providers: Sequence[Section] = (),
    progress: Progress = lambda step: None,
) -> Iterator[Running]:
    """Start the stack and the server; stop all of it at the end.

    `identity_providers` go into the broker's configuration. Raises DevError, EditionError,
    StartError.
    """
    with prepared(
        state, policy, postgres=postgres, identity_providers=identity_providers, progress=progress
    ) as running:
        progress("starting the gRPC server")
        with serving(config.load(running.config, {})):
            yield running


@contextmanager
def split(
    state: Path,
    policy: Path,
    *,
    identity_providers: Sequence[Section] = (),
    progress: Progress = lambda step: None,
) -> Iterator[tuple[Running, Mapping[str, Served]]]:
    """Start the stack on PostgreSQL, and each process of a deployment as one of its own.

    They run as outside development: everything that is refused there is refused. Yields them by
    the names in `running.servers`. Raises DevError, EditionError.
    """
    with (
        prepared(
            state,
            policy,
            postgres=True,
            split=True,
            identity_providers=identity_providers,
            progress=progress,
        ) as running,
        ExitStack() as stack,
    ):
        progress("starting the processes")
        served = {n: Served(Layout(state), server) for n, server in running.servers.items()}
        stack.callback(_stop, served.values())
        for one in served.values():
            one.start()
        for one in served.values():
            one.wait()
        yield running, served


def _stop(served: Collection[Served]) -> None:
    """Let them drain, all at once: they are peers."""
    with ThreadPoolExecutor(len(served)) as pool:
        list(pool.map(Served.stop, served))


@contextmanager
def prepared(
    state: Path,
    policy: Path,
    *,
    postgres: bool = False,
    split: bool = False,
    identity_providers: Sequence[Section] = (),
    progress: Progress = lambda step: None,
) -> Iterator[Running]:
    """Start all but the gRPC server: the stack, its schema, its first edition.

    Raises DevError, EditionError.
    """
    text = policy.read_text(encoding="utf-8")
    edition = compile_edition(text)
    plan = plan_of(edition, identity_providers)
    stack = Stack(state, plan, postgres=postgres, split=split, progress=progress)
    with stack as running:
        settings = config.load(running.config, {})
        progress("bringing the databases up to date")
        asyncio.run(_prepare(running, settings, text))
        yield running


def plan_of(edition: Edition, identity_providers: Sequence[Section] = ()) -> Plan:
    """Return what the stack has to know of an edition."""
    services = {service.name: service.spiffe for service in edition.services.values()}
    return Plan(
        edition.trust_domain,
        tuple(edition.compartments),
        services,
        identity_providers=tuple(identity_providers),
    )


@contextmanager
def serving(settings: config.Settings) -> Iterator[int]:
    """Run the server on a thread with an event loop of its own; yields its port."""
    port: Future[int] = Future()
    stop: Future[Callable[[], object]] = Future()
    thread = threading.Thread(target=_serve, args=(settings, port, stop), name="piivault-server")
    thread.start()
    try:
        yield port.result(START_SECONDS)
    finally:
        if port.done() and port.exception() is None:
            stop.result(START_SECONDS)()
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
    """Run migrations as the owner, give every role its rights, publish the first edition."""
    own = (CONTROL, BROKER)
    granted = rights.roles(name for name in running.owner_urls if name not in own)
    for name, url in running.owner_urls.items():
        database = connect(url)
        try:
            await schema.upgrade(database, schema.schema_of(name))
            if database.is_postgresql:
                for role in granted:
                    if role.database == database_of(name):
                        await role_sql.grant(database, role.name, role.rights)
        finally:
            await database.close()
    body = text.encode()
    signed = officer_signs(running, "aida")(statement(EDITION, body))
    await app.publish_first(settings, body, {"aida": signed})
