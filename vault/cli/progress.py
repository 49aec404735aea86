"""How far a long command has come, a bar a table, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from vault.store.backup import Progress as Report


@contextmanager
def bars() -> Iterator[Report]:
    """Show bars while the context lasts; nothing where standard error is no terminal."""
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    shown = Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def report(table: str, done: int, total: int) -> None:
        if table not in tasks:
            tasks[table] = shown.add_task(table, total=total)
        shown.update(tasks[table], completed=done)

    with shown:
        yield report
