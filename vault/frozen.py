"""Dataclasses whose freezing the type checker sees to, and not the interpreter.

    from vault.frozen import dataclass

For what is made anew for each record. Where the interpreter keeps it frozen, too, each attribute
is set by a call of its own, and a record has some fifteen such objects on its way: a twelfth of
the time of a batch (docs/performance.md). Whatever is made seldom has `dataclasses` itself.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

__all__ = ["dataclass"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(
        *, slots: bool, frozen: bool = False, eq: bool = True, repr: bool = True
    ) -> Callable[[type[T]], type[T]]:
        """Make a dataclass; one to be frozen is hashed as if it were."""
        hashed = frozen and eq
        return dataclasses.dataclass(slots=slots, eq=eq, repr=repr, unsafe_hash=hashed)
