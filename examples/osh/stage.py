"""The screen: what is asked, what is answered, and whether it was as it should be.

Words carry the meaning and colours only repeat it, so it reads the same on paper. Lines end at
100 columns however wide the terminal is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from piivault import PiivaultError
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from examples.osh.cast import Cast

WIDEST = 100
_INDENT = 4


class NotAsTold(Exception):
    """A step went otherwise than the story tells; the message says how."""


Play = Callable[["Stage", Cast], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the story: the policy's clauses that it shows, and what happens."""

    clauses: str
    title: str
    play: Play


def step(clauses: str) -> Callable[[Play], Step]:
    """Make a function a step of the story; its docstring is the title."""
    return lambda play: Step(clauses, (play.__doc__ or "").removesuffix("."), play)


class Stage:
    """Shows a story step by step, and remembers which steps didn't happen."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.failed: list[str] = []
        self._checks = 0

    def tell(self, story: Sequence[Step], cast: Cast) -> None:
        """Play every step; one that fails is told in `failed`, and the next is played."""
        for number, its in enumerate(story, 1):
            self._open(number, its)
            try:
                its.play(self, cast)
                if not self._checks:
                    raise NotAsTold("nothing was checked")
            except Exception as e:  # whatever went wrong, this step didn't happen
                why = str(e) if isinstance(e, NotAsTold) else f"{type(e).__name__}: {e}"
                self._line("FAILED", why, "bold red")
                self.failed.append(f"{number} {its.title}: {why}")

    def asks(self, words: str) -> None:
        """Show who asks for what."""
        self._line("asked", words, "cyan")

    def answers(self, words: str) -> None:
        """Show what came back."""
        self._line("answered", words, "default")

    def check(self, statement: str, holds: bool) -> None:
        """Show a statement that holds; raise NotAsTold where it doesn't."""
        if not holds:
            raise NotAsTold(f"it doesn't hold that {statement}")
        self._checks += 1
        self._line("checked", statement, "green")

    @contextmanager
    def refused(self, kind: type[PiivaultError]) -> Iterator[None]:
        """Expect a refusal of exactly this kind, and show it."""
        try:
            yield
        except PiivaultError as e:
            self.answers(f"{e.reason}. {e.message}")
            self.check(f"it is refused, as {kind.__name__}", type(e) is kind)
        else:
            raise NotAsTold("it was answered, where it should be refused")

    def show(self, renderable: RenderableType) -> None:
        """Show a panel or a table between the lines."""
        self.console.print(Padding(renderable, (0, 0, 0, _INDENT)))

    def _open(self, number: int, its: Step) -> None:
        self._checks = 0
        heading = Table.grid(padding=(0, 1), expand=True)
        heading.add_column(width=2, justify="right")
        heading.add_column(ratio=1)
        heading.add_column(justify="right", no_wrap=True)
        heading.add_row(str(number), its.title, f"clause {its.clauses}", style="bold")
        self.console.print()
        self.console.print(heading)

    def _line(self, label: str, words: str, style: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=_INDENT - 1)
        line.add_column(width=8)
        line.add_column(overflow="fold")
        line.add_row("", Text(label, style), Text(words))
        self.console.print(line)


def screen() -> Console:
    """Return a console of at most 100 columns, for standard output."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    return console
