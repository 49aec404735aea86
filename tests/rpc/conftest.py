"""A server of one's own: the real guard and the real TLS around handlers that a test writes."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from tests.certificates import Authority
from tests.house import POLICY
from tests.wire import METHODS, open_channel
from vault.policy import Edition, compile_edition
from vault.rpc.guard import DuplexHandler, Guard, Handler, StreamHandler
from vault.rpc.server import Tls
from vault.service.call import PolicyState
from vault.service.ledger import Ledger

DEFAULT_DEADLINE = 0.2  # seconds
OFFICER = "spiffe://oshto.kg/officer/aida"

Method = tuple[type[Message], Handler | StreamHandler | DuplexHandler]


@dataclass(frozen=True, slots=True)
class Guarded:
    """A started server."""

    address: str
    authority: Authority
    server_tls: Tls

    def channel(self, spiffe: str = "spiffe://oshto.kg/portal") -> grpc.Channel:
        """Open a channel as whoever has this SPIFFE id."""
        name = spiffe.replace("/", "_")
        return open_channel(self.address, self.authority.client(name, spiffe))


Serve = Callable[[Mapping[str, Method]], AbstractContextManager[Guarded]]


@pytest.fixture(scope="session")
def edition() -> Edition:
    return compile_edition(POLICY.read_text(encoding="utf-8"))


@dataclass(slots=True)
class Policy:
    """The policy in force, which a test may change while it is served."""

    state: PolicyState


@pytest.fixture
def policy(edition: Edition) -> Policy:
    return Policy(PolicyState(edition, Ledger({}, editions={edition.number: edition})))


@pytest.fixture
def guard(policy: Policy) -> Guard:
    return Guard(lambda: policy.state, {OFFICER: "aida"}, DEFAULT_DEADLINE)


@pytest.fixture
def serve(guard: Guard, tmp_path: Path) -> Serve:
    """Serve methods, by their full names, behind the guard; a generator's answers are streamed."""

    @contextmanager
    def served(methods: Mapping[str, Method]) -> Iterator[Guarded]:
        authority = Authority(tmp_path / "authority")
        files = authority.server()
        tls = Tls(Path(files.certificate), Path(files.private_key), authority.file)
        with _running(guard, methods, tls) as port:
            yield Guarded(f"127.0.0.1:{port}", authority, tls)

    return served


@contextmanager
def _running(guard: Guard, methods: Mapping[str, Method], tls: Tls) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="guarded")
    thread.start()
    server, port = asyncio.run_coroutine_threadsafe(_start(guard, methods, tls), loop).result()
    yield port
    asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _start(
    guard: Guard, methods: Mapping[str, Method], tls: Tls
) -> "tuple[grpc.aio.Server, int]":
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for name, (request_type, handler) in methods.items():
        service, _, method = name.strip("/").partition("/")
        wrap: Any = guard.stream if inspect.isasyncgenfunction(handler) else guard.unary
        if name in METHODS and METHODS[name].client_streaming:
            wrap = guard.duplex
        handlers = {method: wrap(name, request_type, handler, guard.call)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_secure_port("127.0.0.1:0", tls.credentials())
    await server.start()
    return server, port


async def _stop(server: grpc.aio.Server) -> None:
    """Stop, and end whatever handler is still at its last step: none is left for the collector."""
    await server.stop(None)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
