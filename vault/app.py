"""Put the house together: from settings to a serving process, and back down in order."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from vault import config, health
from vault.opening import (
    StartError,
    capability_keys,
    open_audits,
    open_broker,
    open_broker_trail,
    open_checkpoints,
    open_compartment,
    open_editions,
    open_trails,
    opening,
)
from vault.roles import apart, faults, held, while_joinable
from vault.rpc.guard import Guard
from vault.rpc.server import Server, Tls
from vault.service.approve import Approvals
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.house import House
from vault.service.issuing import Issuing
from vault.service.ledger import EDITION
from vault.service.metrics import Metrics
from vault.service.places import Places
from vault.service.refusals import Refusals
from vault.service.trail import AuditedTrail
from vault.upkeep import (
    check_ready,
    checkpoint_control,
    checkpoint_often,
    follow,
    follow_keys,
    look_at_key_health,
    rotate_often,
    sweep_often,
    tell_health,
    watch,
    write_metrics,
)

log = logging.getLogger("piivault.app")

_GRACE = 5.0  # seconds for calls to finish at the end


@asynccontextmanager
async def running(settings: config.Settings, worker: int = 0) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port. Raises StartError.

    `worker` is the number of this one among several on a port that was reserved for them.
    """
    _harden()
    async with AsyncExitStack() as stack:
        server, check = await _assemble(settings, worker, stack)
        with opening("server"):
            tls = Tls(
                settings.server.certificate,
                settings.server.private_key,
                settings.server.client_ca,
            )
            port = await server.start(settings.server.address, tls)
        stack.push_async_callback(server.drain, _GRACE)
        _keep_up(tell_health(check, server.tell), stack)
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
    settings: config.Settings, worker: int, stack: AsyncExitStack
) -> tuple[Server, Callable[[], Awaitable[None]]]:
    """Open what is served; return the server, not started yet, and the check that it is ready."""
    _refuse(faults(settings))
    with opening("control"):
        chain, editions = await open_editions(settings, stack)
        edition = editions.state().current
    uuids = held(settings, edition)
    _refuse(apart(uuids, edition))
    state = while_joinable(editions.state, uuids)
    keys, metrics = capability_keys(settings), Metrics(worker)
    compartments = {}
    healths = []
    if "worker" in settings.server.roles:
        for name, section in settings.compartments.items():
            with opening(f"compartment {name}"):
                served = await open_compartment(
                    name, section, settings, editions, keys, stack, metrics
                )
            healths.append(health.of_worker(served, section, metrics))
            _keep_up(follow_keys(served, section.key_poll), stack)
            _keep_up(sweep_often(served, state, section.sweep_interval, metrics), stack)
            pace = section.key_poll, section.rotation_rows_per_second
            _keep_up(rotate_often(served, state, *pace), stack)
            compartments[name] = served
    _keep_up(follow(editions, tuple(compartments.values())), stack)
    issuing = None
    if "broker" in settings.server.roles:
        with opening("broker"):
            broker = await open_broker(settings, edition, keys, stack)
            trail = await open_broker_trail(settings, metrics, stack)
        healths.append(health.of_broker(broker, trail, metrics))
        issuing = Issuing(broker, trail)
    audits = None
    if "auditor" in settings.server.roles:
        with opening("auditor"):
            trails = await open_trails(settings, edition, stack)
            checkpoints, of_control = await open_checkpoints(settings, trails, stack)
        assert settings.auditor is not None  # noqa: S101 -- `faults` saw to it
        healths.append(health.of_auditor(trails, of_control.signer, metrics))
        audits, watchings = open_audits(settings.auditor, trails, editions, metrics)
        for one in checkpoints:
            _keep_up(checkpoint_often(one, settings.auditor.checkpoint_interval), stack)
            _keep_up(watch(watchings[one.name], one), stack)
        _keep_up(checkpoint_control(of_control, editions), stack)
    approvals = Approvals(chain, editions) if "control" in settings.server.roles else None
    house = House(editions, compartments, issuing, approvals, audits)
    for its in healths:
        assert settings.key_server is not None  # noqa: S101 -- they were opened
        _keep_up(look_at_key_health(its, settings.key_server.ask_interval), stack)
    officers = {o.spiffe: o.name for o in settings.officers if o.spiffe}
    writers = (*compartments.values(), *((issuing.trail,) if issuing else ()))
    if settings.metrics is not None:
        _keep_up(write_metrics(metrics, settings.metrics.file, settings.metrics.interval), stack)
    deadline = settings.server.default_deadline
    refusals = Refusals(compartments, issuing.trail if issuing else None)
    places = Places(settings.server.most_calls)
    guard = Guard(state, officers, deadline, metrics.answered, refusals.note, places)
    server = Server(
        house,
        guard,
        worker=bool(compartments),
        development=settings.server.development,
        shares_port=bool(worker),
    )
    return server, lambda: check_ready(state, writers, healths, metrics)


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
