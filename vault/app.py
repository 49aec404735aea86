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
from dataclasses import dataclass, field

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
from vault.policy import Edition
from vault.roles import apart, faults, held, while_joinable
from vault.rpc.guard import Guard
from vault.rpc.server import Server, Tls
from vault.service.approve import Approvals
from vault.service.audits import Audits
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.house import House
from vault.service.issuing import Issuing
from vault.service.key_health import KeyHealth
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


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """What the roles are opened with; `healths` are those of the keys that they came to need."""

    settings: config.Settings
    editions: Editions
    edition: Edition
    state: Callable[[], PolicyState]
    capability_keys: Mapping[bytes, bytes]
    metrics: Metrics
    stack: AsyncExitStack
    healths: list[KeyHealth] = field(default_factory=list)

    def keep_up(self, work: Coroutine[None, None, None]) -> None:
        """Have work done beside the server until the stack unwinds."""
        _keep_up(work, self.stack)

    def look_at(self, keys: KeyHealth) -> None:
        """See again and again whether keys can be used."""
        assert self.settings.key_server is not None  # noqa: S101 -- they were opened
        self.healths.append(keys)
        self.keep_up(look_at_key_health(keys, self.settings.key_server.ask_interval))


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
    keys, metrics, roles = capability_keys(settings), Metrics(worker), settings.server.roles
    site = _Site(settings, editions, edition, state, keys, metrics, stack)
    compartments = await _open_worker(site) if "worker" in roles else {}
    site.keep_up(follow(editions, tuple(compartments.values())))
    issuing = await _open_broker(site) if "broker" in roles else None
    audits = await _open_auditor(site) if "auditor" in roles else None
    approvals = Approvals(chain, editions) if "control" in roles else None
    if settings.metrics is not None:
        site.keep_up(write_metrics(metrics, settings.metrics.file, settings.metrics.interval))
    server = Server(
        House(editions, compartments, issuing, approvals, audits),
        _guard(site, compartments, issuing),
        worker=bool(compartments),
        development=settings.server.development,
        shares_port=bool(worker),
    )
    writers = (*compartments.values(), *((issuing.trail,) if issuing else ()))
    return server, lambda: check_ready(state, writers, site.healths, metrics)


async def _open_worker(site: _Site) -> Mapping[str, ServedCompartment]:
    settings, keys, metrics = site.settings, site.capability_keys, site.metrics
    compartments = {}
    for name, section in settings.compartments.items():
        with opening(f"compartment {name}"):
            served = await open_compartment(
                name, section, settings, site.editions, keys, site.stack, metrics
            )
        site.look_at(health.of_worker(served, section, metrics))
        site.keep_up(follow_keys(served, section.key_poll))
        site.keep_up(sweep_often(served, site.state, section.sweep_interval, metrics))
        pace = section.key_poll, section.rotation_rows_per_second
        site.keep_up(rotate_often(served, site.state, *pace))
        compartments[name] = served
    return compartments


async def _open_broker(site: _Site) -> Issuing:
    settings, stack = site.settings, site.stack
    with opening("broker"):
        broker = await open_broker(settings, site.edition, site.capability_keys, stack)
        trail = await open_broker_trail(settings, site.metrics, stack)
    site.look_at(health.of_broker(broker, trail, site.metrics))
    return Issuing(broker, trail)


async def _open_auditor(site: _Site) -> Audits:
    section = site.settings.auditor
    assert section is not None  # noqa: S101 -- `faults` saw to it
    with opening("auditor"):
        trails = await open_trails(site.settings, site.edition, site.stack)
        checkpoints, of_control = await open_checkpoints(site.settings, trails, site.stack)
    site.look_at(health.of_auditor(trails, of_control.signer, site.metrics))
    audits, watchings = open_audits(section, trails, site.editions, site.metrics)
    for one in checkpoints:
        site.keep_up(checkpoint_often(one, section.checkpoint_interval))
        site.keep_up(watch(watchings[one.name], one))
    site.keep_up(checkpoint_control(of_control, site.editions))
    return audits


def _guard(
    site: _Site, compartments: Mapping[str, ServedCompartment], issuing: Issuing | None
) -> Guard:
    server = site.settings.server
    refusals = Refusals(compartments, issuing.trail if issuing else None)
    return Guard(
        site.state,
        {o.spiffe: o.name for o in site.settings.officers if o.spiffe},
        server.default_deadline,
        site.metrics.answered,
        refusals.note,
        Places(server.most_calls),
    )


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
