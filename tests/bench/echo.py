"""A bare echo: what gRPC alone costs, with the same messages, certificates and options.

python -m tests.bench.echo piivault.toml ANSWER

Serves RecordService.Reveal on a free port, which it prints, and answers every request with
ANSWER, a serialised RevealResponse in base64. It looks at nothing and keeps nothing.
"""

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import uvloop
from piivault.v1 import record_service_pb2 as pb

from vault import config
from vault.rpc.server import OPTIONS, Tls  # the very options of the server it is compared to

Reveal = Callable[[pb.RevealRequest, Any], Awaitable[pb.RevealResponse]]


async def serve_reveal(settings: config.Server, reveal: Reveal) -> None:
    """Serve until the process is ended; messages are read and written as generated stubs do."""
    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(
        reveal,
        request_deserializer=pb.RevealRequest.FromString,
        response_serializer=pb.RevealResponse.SerializeToString,
    )
    name = pb.DESCRIPTOR.services_by_name["RecordService"].full_name
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"Reveal": handler}),)
    )
    tls = Tls(settings.certificate, settings.private_key, settings.client_ca)
    port = server.add_secure_port("127.0.0.1:0", tls.credentials())
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def _serve(settings: config.Server, answer: pb.RevealResponse) -> None:
    async def reveal(request: pb.RevealRequest, context: object) -> pb.RevealResponse:
        return answer

    await serve_reveal(settings, reveal)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        settings = config.load(Path(sys.argv[1]), {}).server
        runner.run(_serve(settings, pb.RevealResponse.FromString(base64.b64decode(sys.argv[2]))))
