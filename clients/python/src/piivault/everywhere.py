"""One thing in every compartment, one after another, by the subject's side: "everywhere".

    journey = Journey.begin(["accounts", "orders", "web"])
    journey = erase_everywhere(subject, journey, keep=store)

No server sees the whole: each call names one compartment, under a request id of its own. `keep` is
handed the journey before each call and after it. The caller stores it on the subject's side
(`to_json`), and walks on from what was stored last, after a crash too: a call that was answered
isn't made again, and one whose answer was lost is repeated under its request id.

A compartment that fails doesn't stop the others: look at `is_done`, and walk again.
"""

import asyncio
import base64
import json
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from piivault._report import Report
from piivault.aio_subject import AsyncSubject
from piivault.errors import Erased, NotFound, PiivaultError
from piivault.export_keys import PublicKey
from piivault.subject import Subject

StepState = Literal["open", "done", "nothing"]


@dataclass(frozen=True, slots=True)
class Step:
    """One compartment's part: `result` once it is done, the `error` reason while it failed.

    "nothing" means that nothing is held there.
    """

    compartment: str
    request_id: str
    state: StepState = "open"
    result: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """How far one thing is, everywhere. It joins what compartments keep apart: guard it."""

    steps: tuple[Step, ...]

    @classmethod
    def begin(cls, compartments: Iterable[str]) -> Self:
        """Plan it, with a request id for each compartment: none is used in two."""
        return cls(tuple(Step(name, str(uuid.uuid4())) for name in compartments))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raise ValueError for anything else."""
        try:
            return cls(tuple(Step(**step) for step in json.loads(text)))
        except (TypeError, KeyError):
            raise ValueError("this is no journey") from None

    def to_json(self) -> str:
        """Write it, for the caller to store."""
        return json.dumps([asdict(step) for step in self.steps])

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(step.state != "open" for step in self.steps)

    @property
    def left(self) -> tuple[Step, ...]:
        """What is left to do."""
        return tuple(step for step in self.steps if step.state == "open")

    def with_step(self, step: Step) -> Self:
        """Return the journey with a step in the place of the one for its compartment."""
        known = (step if s.compartment == step.compartment else s for s in self.steps)
        return replace(self, steps=tuple(known))


Keep = Callable[[Journey], None]
Act = Callable[[Step], str]
AsyncAct = Callable[[Step], Awaitable[str]]


def everywhere(journey: Journey, act: Act, keep: Keep, *, apart: float = 0.0) -> Journey:
    """Walk what is left of a journey; return it as it is then.

    `act` does one compartment's part under the step's request id and returns its result as text; a
    NotFound says that nothing is held there. Between two, wait at random up to `apart` seconds:
    whoever watches several compartments sees what comes at one time.
    """
    for step in journey.left:
        keep(journey)
        try:
            step = replace(step, state="done", result=act(step), error="")
        except PiivaultError as e:
            step = _failed(step, e)
        journey = journey.with_step(step)
        keep(journey)
        time.sleep(_pause(apart))
    return journey


async def everywhere_async(
    journey: Journey, act: AsyncAct, keep: Keep, *, apart: float = 0.0
) -> Journey:
    """Do what `everywhere` does, for asyncio."""
    for step in journey.left:
        keep(journey)
        try:
            step = replace(step, state="done", result=await act(step), error="")
        except PiivaultError as e:
            step = _failed(step, e)
        journey = journey.with_step(step)
        keep(journey)
        await asyncio.sleep(_pause(apart))
    return journey


def erase_everywhere(
    subject: Subject, journey: Journey, keep: Keep, *, apart: float = 0.0
) -> Journey:
    """Erase the subject's records; each step's result is its receipt (`receipt_of`)."""

    def act(step: Step) -> str:
        return _written(subject.erase(step.compartment, request_id=step.request_id).receipt)

    return everywhere(journey, act, keep, apart=apart)


async def erase_everywhere_async(
    subject: AsyncSubject, journey: Journey, keep: Keep, *, apart: float = 0.0
) -> Journey:
    """Do what `erase_everywhere` does, for asyncio."""

    async def act(step: Step) -> str:
        erasure = await subject.erase(step.compartment, request_id=step.request_id)
        return _written(erasure.receipt)

    return await everywhere_async(journey, act, keep, apart=apart)


def export_everywhere(
    subject: Subject,
    keys: Mapping[str, PublicKey],
    journey: Journey,
    keep: Keep,
    *,
    assertion_for: Callable[[str], str] | None = None,
    apart: float = 0.0,
) -> Journey:
    """Export the subject's records; each step's result is its package (`package_of`).

    `assertion_for` is handed the thumbprint of a key, and returns an assertion that confirms it.
    """

    def act(step: Step) -> str:
        key = keys[step.compartment]
        said = assertion_for(key.thumbprint) if assertion_for else None
        with _erased_is_nothing():
            answer = subject.export(
                step.compartment, key, assertion=said, request_id=step.request_id
            )
        return _written(answer.package)

    return everywhere(journey, act, keep, apart=apart)


async def export_everywhere_async(
    subject: AsyncSubject,
    keys: Mapping[str, PublicKey],
    journey: Journey,
    keep: Keep,
    *,
    assertion_for: Callable[[str], Awaitable[str]] | None = None,
    apart: float = 0.0,
) -> Journey:
    """Do what `export_everywhere` does, for asyncio."""

    async def act(step: Step) -> str:
        key = keys[step.compartment]
        said = await assertion_for(key.thumbprint) if assertion_for else None
        with _erased_is_nothing():
            answer = await subject.export(
                step.compartment, key, assertion=said, request_id=step.request_id
            )
        return _written(answer.package)

    return await everywhere_async(journey, act, keep, apart=apart)


def report_everywhere(
    subject: Subject, language: str, journey: Journey, keep: Keep, *, apart: float = 0.0
) -> Journey:
    """Ask what is done with the subject's data; each step's result is its report (`report_of`)."""

    def act(step: Step) -> str:
        with _erased_is_nothing():
            found = subject.report(step.compartment, language, request_id=step.request_id)
        return found.to_json()

    return everywhere(journey, act, keep, apart=apart)


async def report_everywhere_async(
    subject: AsyncSubject, language: str, journey: Journey, keep: Keep, *, apart: float = 0.0
) -> Journey:
    """Do what `report_everywhere` does, for asyncio."""

    async def act(step: Step) -> str:
        with _erased_is_nothing():
            found = await subject.report(step.compartment, language, request_id=step.request_id)
        return found.to_json()

    return await everywhere_async(journey, act, keep, apart=apart)


@contextmanager
def _erased_is_nothing() -> Iterator[None]:
    try:
        yield
    except Erased as e:
        raise NotFound(e.message, reason=e.reason, request_id=e.request_id) from None


def package_of(step: Step) -> bytes:
    """Return the package that an export's step ended with; empty if it has none."""
    return base64.b64decode(step.result)


def report_of(step: Step) -> Report | None:
    """Return the report that a step ended with; None where nothing is held."""
    return Report.from_json(step.result) if step.result else None


def receipt_of(step: Step) -> bytes:
    """Return the signed receipt that an erasure's step ended with; empty if it has none."""
    return base64.b64decode(step.result)


def _written(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _failed(step: Step, error: PiivaultError) -> Step:
    # An erased record isn't "nothing": erasing again is answered with a receipt.
    if type(error) is NotFound:
        return replace(step, state="nothing", error="")
    return replace(step, error=error.reason)


def _pause(apart: float) -> float:
    return secrets.SystemRandom().uniform(0.0, apart)
