"""All that a run measured."""

from dataclasses import dataclass, field

from tests.bench.growth import Growth
from tests.bench.overload import Load
from tests.bench.roles import Role
from tests.bench.sample import Line


@dataclass(slots=True)
class Found:
    """What was measured."""

    lines: list[Line] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    overload: list[Load] = field(default_factory=list)
    growth: Growth | None = None
    memory: int = 0  # bytes of a worker after its load
