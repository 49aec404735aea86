"""What a team would write itself: the same messages and certificates, and the obvious way.

    python -m tests.bench.naive piivault.toml '{"database": …}'

A gRPC handler with SQLAlchemy; a field is a Transit ciphertext, decrypted by one call through hvac
in a thread; who asks for what is looked up in the caller's certificate and the record's purposes;
and each request inserts a row into the audit table, committed before the answer. All connections
are pooled.
"""

import asyncio
import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import hvac
import requests
import uvloop
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import types_pb2
from requests.adapters import HTTPAdapter
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Identity,
    MetaData,
    Table,
    Text,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.bench.echo import serve_reveal
from vault import config

SCHEMA = "naive"
METADATA = MetaData(schema=SCHEMA)
people = Table(
    "people",
    METADATA,
    Column("pseudonym", Text, primary_key=True),
    Column("purposes", ARRAY(Text), nullable=False),
    Column("first_name", Text),
    Column("phone", Text),
)
audit = Table(
    "audit",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("service", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("pseudonym", Text, nullable=False),
    Column("fields", ARRAY(Text), nullable=False),
)
_AT_ONCE = 32  # connections and threads


class Naive:
    """The handler."""

    def __init__(self, told: dict[str, str]) -> None:
        session = requests.Session()
        session.verify = told["key_server_ca"]
        session.mount("https://", HTTPAdapter(pool_maxsize=_AT_ONCE))
        client = hvac.Client(told["key_server"], told["token"], session=session)
        client.session.verify = told["key_server_ca"]
        self._transit = client.secrets.transit
        self._key = told["key"]
        self._threads = ThreadPoolExecutor(_AT_ONCE)
        self._engine: AsyncEngine = create_async_engine(told["database"], pool_size=_AT_ONCE)

    async def reveal(self, request: pb.RevealRequest, context: Any) -> pb.RevealResponse:
        """Answer one request."""
        service = context.auth_context()["peer_spiffe_id"][0].decode()
        async with self._engine.begin() as connection:
            query = select(people).where(people.c.pseudonym == request.pseudonym)
            row = (await connection.execute(query)).one_or_none()
            if row is None or request.purpose not in row.purposes:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such record")
            values = await asyncio.gather(
                *(self._decrypt(getattr(row, name)) for name in request.fields)
            )
            event = {
                "at": datetime.now(UTC),
                "service": service,
                "purpose": request.purpose,
                "pseudonym": request.pseudonym,
                "fields": list(request.fields),
            }
            await connection.execute(insert(audit).values(event))
        revealed = [
            types_pb2.RevealedField(name=name, form=types_pb2.FORM_PLAIN, present=True, value=value)
            for name, value in zip(request.fields, values, strict=True)
        ]
        return pb.RevealResponse(fields=revealed, edition=1)

    async def _decrypt(self, ciphertext: str) -> str:
        loop = asyncio.get_running_loop()
        decrypt = self._transit.decrypt_data
        answer = await loop.run_in_executor(
            self._threads, lambda: decrypt(name=self._key, ciphertext=ciphertext)
        )
        return base64.b64decode(answer["data"]["plaintext"]).decode()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        settings = config.load(Path(sys.argv[1]), {}).server
        runner.run(serve_reveal(settings, Naive(json.loads(sys.argv[2])).reveal))
