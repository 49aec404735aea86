"""Put the house together: from settings to a serving process, and back down in order."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from vault import config
from vault.opening import (
    StartError,
    capability_keys,
    open_broker,
    open_compartment,
    open_editions,
    open_trails,
    opening,
)
from vault.roles import apart, faults, held, while_joinable
from vault.rpc.guard import Guard
from vault.rpc.server import Server, Tls
from vault.service.approve import Approvals
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.house import House
from vault.service.ledger import EDITION
from vault.service.trail import AuditedTrail
from vault.upkeep import follow, sweep_often, tell_health

log = logging.getLogger("piivault.app")

_GRACE = 5.0  # seconds for calls to finish at the end


@asynccontextmanager
async def running(settings: config.Settings) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port. Raises StartError."""
    _harden()
    async with AsyncExitStack() as stack:
        server, state = await _assemble(settings, stack)
        with opening("server"):
            tls = Tls(
                settings.server.certificate,
                settings.server.private_key,
                settings.server.client_ca,
            )
            port = await server.start(settings.server.address, tls)
        stack.push_async_callback(server.drain, _GRACE)
        _keep_up(tell_health(state, server.tell), stack)
        yield port


@asynccontextmanager
async def opened(
    settings: config.Settings, name: str
) -> AsyncIterator[tuple[ServedCompartment, Editions]]:
    """Open one compartment of the configuration without serving it. Raises StartError."""
    async with AsyncExitStack() as stack:
        _, editions = await open_editions(settings, stack)
        section, keys = settings.compartments[name], capability_keys(settings)
        yield await open_compartment(name, section, settings, editions, keys, stack), editions


@asynccontextmanager
async def audited(
    settings: config.Settings,
) -> AsyncIterator[tuple[Editions, Mapping[str, AuditedTrail]]]:
    """Open the editions and every trail of [auditor], without serving. Raises StartError."""
    async with AsyncExitStack() as stack:
        if settings.auditor is None:
            raise StartError("The configuration has no [auditor]: this is for the auditor.")
        _, editions = await open_editions(settings, stack)
        yield editions, await open_trails(settings, editions.state().current, stack)


async def publish_first(
    settings: config.Settings, body: bytes, signatures: Mapping[str, bytes]
) -> bool:
    """Publish the edition that a house begins with; return False if there is one already.

    Takes control's own settings. Raises StartError, EditionError.
    """
    with opening("control"):
        async with AsyncExitStack() as stack:
            _, editions = await open_editions(settings, stack)
            if editions.ledger.newest is not None:
                return False
            await editions.add(lambda ledger: ledger.next(EDITION, body, signatures))
            return True


async def _assemble(
    settings: config.Settings, stack: AsyncExitStack
) -> tuple[Server, Callable[[], PolicyState]]:
    """Open what is served; return the server, not started yet, and what it decides by."""
    _refuse(faults(settings))
    with opening("control"):
        chain, editions = await open_editions(settings, stack)
        edition = editions.state().current
    uuids = held(settings, edition)
    _refuse(apart(uuids, edition))
    state = while_joinable(editions.state, uuids)
    keys = capability_keys(settings)
    compartments = {}
    if "worker" in settings.server.roles:
        for name, section in settings.compartments.items():
            with opening(f"compartment {name}"):
                served = await open_compartment(name, section, settings, editions, keys, stack)
            _keep_up(sweep_often(served, state, section.sweep_interval), stack)
            compartments[name] = served
    _keep_up(follow(editions, tuple(compartments.values())), stack)
    broker = None
    if "broker" in settings.server.roles:
        with opening("broker"):
            broker = await open_broker(settings, edition, keys, stack)
    if "auditor" in settings.server.roles:
        with opening("auditor"):
            await open_trails(settings, edition, stack)
    approvals = Approvals(chain, editions) if "control" in settings.server.roles else None
    house = House(editions, compartments, broker, approvals)
    officers = frozenset(o.spiffe for o in settings.officers if o.spiffe)
    guard = Guard(state, officers, settings.server.default_deadline)
    development = settings.server.development
    return Server(house, guard, worker=bool(compartments), development=development), state


def _refuse(found: Sequence[str]) -> None:
    if found:
        raise StartError("\n".join(found))


def _keep_up(work: Coroutine[None, None, None], stack: AsyncExitStack) -> None:
    """Have work done beside the server until the stack unwinds; if it breaks off, so do we.

    A process that no longer follows the control chain, or erases, must not look as if it did.
    """

    async def kept_up() -> None:
        try:
            await work
        except Exception as e:
            frames = "".join(traceback.format_tb(e.__traceback__))  # never the text: it may tell
            log.critical("unforeseen %s beside the server: stopping\n%s", type(e).__name__, frames)
            os.kill(os.getpid(), signal.SIGTERM)
            raise StartError("Work beside the server broke off: see the log.") from None

    stack.callback(work.close)  # else what never began is warned of
    task = asyncio.create_task(kept_up())
    stack.push_async_callback(_cancel, task)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _harden() -> None:
    """Leave no core dump: it would hold keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
