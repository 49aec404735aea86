"""Several workers on one port, and what watches over them.

The supervisor holds no key, no login and no connection: it reserves the port, starts workers as
processes of their own (spawned: gRPC's threads don't survive a fork), puts another in the place of
one that died, and ends all of them in order. Where it is killed, its workers notice and drain.

    supervisor ── a socket pair each ── worker: a byte when it serves; its end, when either ends
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from vault.config import Settings
from vault.opening import StartError

log = logging.getLogger("piivault.app")

_SERVES = b"s"
_LASTED = 10.0  # seconds of serving, after which a death is the first of a new row
_MOST_DEATHS = 8  # in a row, at one place
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before a replacement: the first, and the longest
_STOP_SECONDS = 30.0  # for a worker to drain and to close what it opened


def refuse_several(settings: Settings) -> None:
    """Raise StartError for what only one process may serve."""
    sections = [settings.control, *(c.database for c in settings.compartments.values())]
    if settings.broker is not None:
        sections.append(settings.broker.database)
    if any(section.url.startswith("sqlite") for section in sections):
        raise StartError(
            "SQLite is one process's: serve without --workers, or keep rows in PostgreSQL."
        )
    if "auditor" in settings.server.roles:
        raise StartError(
            "An auditor is one process: two would make the same checkpoints and raise each alarm "
            "twice. Serve it by itself, without --workers."
        )


def file_of(file: Path, number: int) -> Path:
    """Return a worker's own file in the place of one that all would write."""
    return file.with_name(f"{file.stem}.{number}{file.suffix}")


class Supervised:
    """A worker's end of its socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._link = socket.socket(fileno=descriptor)
        self._link.setblocking(False)

    async def serves(self) -> None:
        """Tell the supervisor that calls are answered; return when it is no more."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            await loop.sock_sendall(self._link, _SERVES)
            await loop.sock_recv(self._link, 1)


class _Worker:
    """A process, by its number among those that live.

    `serves` is done once it serves (True), or ended before.
    """

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, link: socket.socket
    ) -> None:
        self.number = number
        self.process = process
        self.serves = asyncio.create_task(self._hear())
        self._link = link
        self._since = float("inf")

    async def _hear(self) -> bool:
        heard = await asyncio.get_running_loop().sock_recv(self._link, 1)
        if heard:
            self._since = time.monotonic()
        return bool(heard)

    @property
    def lasted(self) -> bool:
        """Whether it has served for a while."""
        return time.monotonic() - self._since > _LASTED

    async def close(self) -> None:
        """Let go of what is left of one that ended."""
        await self.serves  # it hears the end
        self._link.close()

    async def stop(self) -> None:
        """Have it drain and end; by force if it takes too long."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)
            except TimeoutError:
                log.error("worker %d takes too long to end: killed", self.number)
                self.process.kill()
        await self.process.wait()


class Supervisor:
    """Keeps `workers` of them alive while its context lasts.

    `command` makes a worker, given its number and the descriptor of its end of the socket pair;
    `gone` is told of the number of each that ended.
    """

    def __init__(
        self,
        workers: int,
        command: Callable[[int, int], Sequence[str]],
        gone: Callable[[int], None],
    ) -> None:
        self._places: list[_Worker] = []
        self._count = workers
        self._command = command
        self._gone = gone
        self._living: dict[int, _Worker] = {}
        self._changing = asyncio.Lock()  # one worker at a time

    async def run(self, stop: asyncio.Event, restart: asyncio.Event) -> None:
        """Serve until `stop`; each `restart` replaces all workers, one at a time.

        Raises StartError where a worker can't start, or dies again and again.
        """
        stopping = asyncio.create_task(stop.wait())
        serving = asyncio.create_task(self._serve(restart))
        try:
            await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            for task in (stopping, serving):
                task.cancel()
            await asyncio.gather(stopping, serving, return_exceptions=True)
            log.info("draining")
            await asyncio.gather(*(worker.stop() for worker in self._living.values()))
            for worker in list(self._living.values()):
                await self._forget(worker)

    async def _serve(self, restart: asyncio.Event) -> None:
        first = await self._start()
        if not await first.serves:  # what is wrong with one is wrong with all: it said what
            raise StartError("No worker could start; the first one said why.")
        self._places = [first, *[await self._start() for _ in range(self._count - 1)]]
        log.info("%d workers", self._count)
        try:
            async with asyncio.TaskGroup() as tasks:
                for place in range(self._count):
                    tasks.create_task(self._keep(place))
                tasks.create_task(self._restart_when(restart))
        except* StartError as group:
            raise group.exceptions[0] from None

    async def _keep(self, place: int) -> None:
        """Have a worker at a place, whatever becomes of the one that is there."""
        deaths = 0
        while True:
            worker = self._places[place]
            await worker.process.wait()
            if worker is not self._places[place]:
                continue  # it was replaced, and told to go
            await self._forget(worker)
            deaths = 1 if worker.lasted else deaths + 1
            how = _ended(worker.process.returncode)
            if deaths >= _MOST_DEATHS:
                raise StartError(
                    f"Workers ended {deaths} times in a row, the last one {how}: there is no use "
                    "in starting more. The log says what they met."
                )
            pause = min(_PAUSE * (2 ** (deaths - 1) - 1), _LONGEST_PAUSE)  # none at first
            said = "worker %d (%d) %s: another follows in %g s"
            log.error(said, worker.number, worker.process.pid, how, pause)
            await asyncio.sleep(pause)
            async with self._changing:
                if worker is self._places[place]:
                    self._places[place] = await self._start()

    async def _restart_when(self, restart: asyncio.Event) -> None:
        while True:
            await restart.wait()
            restart.clear()
            log.info("restarting the workers, one at a time")
            for place in range(self._count):
                async with self._changing:
                    if not await self._replace(place):
                        log.error("restarting ended: the new worker can't start, the old ones stay")
                        break
            else:
                log.info("all workers are new")

    async def _replace(self, place: int) -> bool:
        """Put a new worker in the place of an old one, which goes only when the new one serves."""
        new = await self._start()
        if not await new.serves:
            await new.process.wait()
            await self._forget(new)
            return False
        old, self._places[place] = self._places[place], new
        await old.stop()
        await self._forget(old)
        return True

    async def _start(self) -> _Worker:
        number = next(n for n in count(1) if n not in self._living)
        ours, its = socket.socketpair()
        ours.setblocking(False)
        with its:
            process = await asyncio.create_subprocess_exec(
                *self._command(number, its.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,  # Ctrl-C is for us; we tell them in order
            )
        worker = self._living[number] = _Worker(number, process, ours)
        log.info("worker %d is process %d", number, process.pid)
        return worker

    async def _forget(self, worker: _Worker) -> None:
        if self._living.get(worker.number) is worker:
            del self._living[worker.number]
            self._gone(worker.number)
            await worker.close()


def _ended(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
