"""Tables for people: whole in a terminal of 80 columns, each word as it is."""

from rich import box
from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Return a console that takes words as they are: `index:email:1` has no emoji in it."""
    return Console(emoji=False, markup=False)


def table(
    *columns: str,
    title: str | None = None,
    right: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
) -> Table:
    """Return a table that folds what is too wide: last of all the columns in `whole`.

    Those in `right` are numbers.
    """
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in whole,
        )
    return made
