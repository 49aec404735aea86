"""The roles of GDPRbench, against the same operations on plaintext PostgreSQL through SQLAlchemy.

The mixes are those of GDPRbench (Shastri et al., VLDB 2020) at HEAD, the regulator's that of the
paper; the generator is ours, and its users have several purposes. What an operation is here:

    insert                  register with consents; an INSERT
    delete                  erase; a DELETE
    read, update            the subject views, puts; a service reveals; SELECT, UPDATE
    metadata, changed       a consent to one purpose is given or withdrawn; an UPDATE
    metadata of a user      consents are shown; whether fields are held
    metadata of a purpose   the fields that a grant sees under it are described
    logs, a deletion        the auditor lists the last 100 events; who was erased is asked for

What changes for all records of a purpose at once is an edition, which officers publish: one entry
of the control chain, whatever the number of records, and no part of the mix.

Each list of operations is run by both, AT_ONCE of them, and a person's operations in their order:
so both must say the same of each, and that is checked. So is what both have in the end of some of
the persons, values and consents, when the clock has stopped.
"""

import asyncio
import random
import time
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from tests.bench.population import root
from tests.bench.sample import Progress
from vault.crypto.pseudonym import transit_input
from vault.dev import Running
from vault.keys.provision import PSEUDONYM_KEY

AT_ONCE = 16  # operations
ROUNDS = 5
OPERATIONS = 1_000  # a role and round
AT_MOST = 5.0  # times slower than plaintext, by the paper's figure for a compliant store
LOG_LINES = 100
_ZIPF = 0.99
_LOOKED_AT = 50  # persons after a round
_MOST_A_BATCH = 200  # that the key server takes

# How often of a hundred; what is "by key", "by user" and "by purpose" there may be one thing here.
MIXES: dict[str, dict[str, int]] = {
    "controller": {"insert": 25, "delete": 25, "consent": 50},
    "customer": {"view": 20, "put": 20, "delete": 20, "view consents": 20, "consent": 20},
    "processor": {"reveal": 20, "describe": 40, "presence": 40},
    "regulator": {"view consents": 46, "logs": 31, "verify deletion": 23},
}
_SKEWED = {"customer"}


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done, for whom; `turn` makes each different."""

    kind: str
    person: int
    turn: int


class Side(Protocol):
    """One of the two that are compared."""

    async def do(self, operation: Operation) -> object:
        """Carry it out; return what can be compared."""


@dataclass(slots=True)
class Role:
    """A role's rounds: seconds of ours, seconds of plaintext."""

    name: str
    persons: int
    rounds: list[tuple[float, float]] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times slower ours is."""
        return median(ours / plain for ours, plain in self.rounds)


async def play(ours: Side, plain: Side, persons: int, progress: Progress) -> list[Role]:
    """Run each role's rounds on both sides in turn. Raises AssertionError where they differ."""
    roles = []
    fresh = persons  # the number of whoever comes next
    for name, mix in MIXES.items():
        role = Role(name, persons)
        for turn in range(ROUNDS):
            progress(f"{name}, {persons:,} records, round {turn + 1} of {ROUNDS}")
            chance = random.Random(f"{name}{turn}")
            operations = _operations(mix, persons, fresh, chance, skewed=name in _SKEWED)
            fresh += OPERATIONS
            role.rounds.append(await _compared(ours, plain, operations))
            left = [operation.person for operation in chance.sample(operations, _LOOKED_AT)]
            kinds = ("view", "view consents")
            looks = [Operation(kind, person, 0) for person in left for kind in kinds]
            await _compared(ours, plain, looks)
        roles.append(role)
    return roles


async def _compared(
    ours: Side, plain: Side, operations: Sequence[Operation]
) -> tuple[float, float]:
    """Have both carry them out; return both's seconds. Raises AssertionError where they differ."""
    took_plain, said_plain = await _run(plain.do, operations)
    took, said = await _run(ours.do, operations)
    wrong = [
        (operation.kind, own, other)
        for operation, own, other in zip(operations, said, said_plain, strict=True)
        if own != other
    ]
    assert not wrong, f"{len(wrong)} answers differ, such as {wrong[0]}"
    return took, took_plain


def _operations(
    mix: dict[str, int], persons: int, fresh: int, chance: random.Random, *, skewed: bool
) -> list[Operation]:
    kinds = chance.choices(list(mix), list(mix.values()), k=OPERATIONS)
    weights = [1 / rank**_ZIPF for rank in range(1, persons + 1)] if skewed else None
    asked = chance.choices(range(persons), weights, k=OPERATIONS)
    return [
        Operation(kind, fresh + turn if kind == "insert" else person, turn)
        for turn, (kind, person) in enumerate(zip(kinds, asked, strict=True))
    ]


async def _run(
    do: Callable[[Operation], Awaitable[object]], operations: Sequence[Operation]
) -> tuple[float, list[object]]:
    """Carry out AT_ONCE of them; return the seconds, and what each said.

    One whose person is served just now waits for that, and counts as under way.
    """
    said: list[object] = [None] * len(operations)
    left = iter(enumerate(operations))
    turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # of each person

    async def one_after_another() -> None:
        for place, operation in left:
            async with turns[operation.person]:  # which are had in the order of asking
                said[place] = await do(operation)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(one_after_another())
    return time.perf_counter() - began, said


def pseudonyms(running: Running, compartment: bytes, numbers: Sequence[int]) -> list[bytes]:
    """Return the pseudonyms of persons as the broker issues them, many at once."""
    found: list[bytes] = []
    for start in range(0, len(numbers), _MOST_A_BATCH):
        sought = (transit_input(compartment, root(n)) for n in numbers[start:][:_MOST_A_BATCH])
        answer = running.admin.write(
            f"transit/hmac/{PSEUDONYM_KEY}/sha2-256",
            key_version=1,
            batch_input=[{"input": b64encode(data).decode()} for data in sought],
        )
        results = answer["data"]["batch_results"]
        found += [b64decode(one["hmac"].rpartition(":")[2]) for one in results]
    return found
