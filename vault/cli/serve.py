"""`piivault serve`: one process of a deployment, or several of a kind on one port."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import uvloop

from vault import app, config
from vault.cli.options import config_option, log_to, settings
from vault.opening import opening
from vault.port import reserve
from vault.workers import Supervised, Supervisor, file_of, refuse_several

log = logging.getLogger("piivault.app")

# Objects between two collections: a batch's hundreds of requests would set off one each few.
_COLLECT_AFTER = 10_000


@click.command()
@config_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Serve from so many processes on the one port, and replace those that die. SIGHUP "
    "restarts them one at a time, with the configuration as it is then.",
)
@click.option("--as-worker", nargs=3, type=int, hidden=True)  # number, port, descriptor
def serve(file: Path, workers: int | None, as_worker: tuple[int, int, int] | None) -> None:
    """Serve the roles and compartments of the configuration until SIGTERM or Ctrl-C."""
    read = settings(file)
    if as_worker is not None:
        number, port, descriptor = as_worker
        log_to(f"worker {number}: ")
        work = _serve(_of_worker(read, number, port), number, Supervised(descriptor))
    else:
        log_to()
        work = _serve(read) if workers is None else _supervise(file, read, workers)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def _serve(
    read: config.Settings, worker: int = 0, supervised: Supervised | None = None
) -> None:
    with _signalled(signal.SIGINT, signal.SIGTERM) as stop:
        async with app.running(read, worker) as port:
            gc.freeze()  # what was opened stays: no collection needs to walk it again
            gc.set_threshold(_COLLECT_AFTER)
            log.info("serving %s on port %d", ", ".join(sorted(read.server.roles)), port)
            ends: list[Coroutine[Any, Any, object]] = [stop.wait()]
            if supervised is not None:
                ends.append(supervised.serves())
            await _first_of(ends)
            log.info("draining")


async def _first_of(ends: Iterable[Coroutine[Any, Any, object]]) -> None:
    tasks = [asyncio.create_task(end) for end in ends]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _supervise(file: Path, read: config.Settings, workers: int) -> None:
    refuse_several(read)
    with opening("server"):
        port = reserve(read.server.address)

    def command(number: int, descriptor: int) -> list[str]:
        place = (str(n) for n in (number, port.port, descriptor))
        serving = ("serve", "--config", str(file), "--as-worker", *place)
        return [sys.executable, "-P", "-m", "vault.cli", *serving]

    def gone(number: int) -> None:
        if read.metrics is not None:
            file_of(read.metrics.file, number).unlink(missing_ok=True)

    log.info("port %d is for %d workers", port.port, workers)
    try:
        with (
            _signalled(signal.SIGINT, signal.SIGTERM) as stop,
            _signalled(signal.SIGHUP) as restart,
        ):
            await Supervisor(workers, command, gone).run(stop, restart)
    finally:
        port.close()


def _of_worker(read: config.Settings, number: int, port: int) -> config.Settings:
    """Return the settings as one of several has them: the port that was reserved, its own file."""
    host, _, _ = read.server.address.rpartition(":")
    server = read.server.model_copy(update={"address": f"{host}:{port}"})
    metrics = read.metrics and read.metrics.model_copy(
        update={"file": file_of(read.metrics.file, number)}
    )
    return read.model_copy(update={"server": server, "metrics": metrics})


@contextmanager
def _signalled(*numbers: signal.Signals) -> Iterator[asyncio.Event]:
    """Return what is set by any of these signals."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, event.set)
    yield event
