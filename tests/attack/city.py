"""One person who has a record in every compartment, and who asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from piivault.v1 import types_pb2

from tests.attack.actors import FIELD, Actors
from tests.people import Registered, new_values
from tests.wire import patiently, refusal_of, send


@dataclass(frozen=True, slots=True)
class City:
    """One person, everywhere; and who asks."""

    actors: Actors
    people: Mapping[str, Registered]

    def told(self, compartment: str, request: Message) -> str:
        """Ask the worker of a compartment as its clerk; return the reason of a refusal, or ""."""
        return self.actors.told(f"worker-{compartment}", f"clerk-{compartment}", request)

    def told_for_subject(self, compartment: str, request: Message, service: str = "portal") -> str:
        """Ask the worker for the subject; return the reason of a refusal, or ""."""
        channel = self.actors.channel(f"worker-{compartment}", service)
        try:
            patiently(lambda: send(channel, request))
        except grpc.RpcError as error:
            return refusal_of(error).reason
        return ""


def new_value(compartment: str) -> types_pb2.FieldValue:
    """Make up a value of the field that the clerk of a compartment may write."""
    name = FIELD[compartment]
    return types_pb2.FieldValue(name=name, value=new_values(compartment)[name])
