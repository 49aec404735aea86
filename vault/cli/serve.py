"""`piivault serve`: one process of a deployment."""

import asyncio
import gc
import logging
import signal
from pathlib import Path

import click
import uvloop

from vault import app, config
from vault.cli.options import config_option, log_to, settings

log = logging.getLogger("piivault.app")


@click.command()
@config_option
def serve(file: Path) -> None:
    """Serve the roles and compartments of the configuration until SIGTERM or Ctrl-C."""
    log_to()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings(file)))


async def _serve(read: config.Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with app.running(read) as port:
        gc.freeze()  # what was opened stays: no collection needs to walk it again
        log.info("serving %s on port %d", ", ".join(sorted(read.server.roles)), port)
        await stop.wait()
        log.info("draining")
