"""A stream of items as data, and which of them wait for an answer. Pure.

A stream breaks when a server restarts. What was answered is answered; the rest is sent anew, and
what was done under an item's request id isn't done again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from secrets import SystemRandom
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from piivault._call import Response, Result
from piivault._settings import Deadline
from piivault.errors import InternalError, PiivaultError

WINDOW = 64  # the server takes as many items before it sends an answer
RENEW_BEFORE = 0.2  # of a stream's time is for the answers to what was sent
_TRIES = 4  # without one answer
_PAUSES = (0.05, 0.15, 0.45)  # seconds, and up to as much again

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, repr=False)
class StreamCall(Generic[Item, Response, Result]):
    """One method that takes a stream: what it begins with, and what items send and get."""

    method: str  # "/piivault.v1.Service/Method"
    compartment: str  # whose worker serves it
    start: Message
    ask: Callable[[Iterable[Item]], Iterator[Message]]  # the messages that bring them
    response: type[Response]
    results: Callable[[Response], Sequence[Any]]  # of one item or of several, in their order
    read: Callable[[Item, Any], Result]
    request_id: str
    window: int = WINDOW  # items that may wait for an answer


class Ahead(Generic[Item]):
    """Items that were sent ahead of their answers, and those that are still to be sent."""

    def __init__(self, items: Iterable[Item], window: int = WINDOW) -> None:
        self._items: Iterator[Item] = iter(items)
        self._window = window
        self._anew: deque[Item] = deque()
        self._sent: deque[Item] = deque()
        self._ended = False
        self._fault: Exception | None = None  # what the caller's own items raised
        self._index = 0  # of the next answer on this connection
        self._tries = 0

    @property
    def waits(self) -> bool:
        """Whether any answer is due."""
        return bool(self._sent)

    @property
    def ended(self) -> bool:
        """Whether all items were answered."""
        return self._ended and not self._anew and not self._sent

    def take(self, deadline: Deadline) -> list[Item]:
        """Take what is to be sent now; none if the window is full, or the stream's time is up."""
        if deadline.left() < RENEW_BEFORE * deadline.seconds:
            return []
        taken = []
        while len(self._sent) < self._window and not (self._ended and not self._anew):
            try:
                item = self._anew.popleft() if self._anew else next(self._items)
            except StopIteration:
                self._ended = True
                break
            except Exception as e:  # theirs: no stream broke, whatever it is
                self._ended, self._fault = True, e
                break
            self._sent.append(item)
            taken.append(item)
        return taken

    def is_over(self, deadline: Deadline) -> bool:
        """Tell whether nothing more is to be sent on this connection."""
        nothing_left = self._ended and not self._anew
        return nothing_left or deadline.left() < RENEW_BEFORE * deadline.seconds

    def answered(self, index: int, results: Sequence[Any]) -> Iterator[tuple[Item, Any]]:
        """Yield results with whose each is. Raises InternalError if they are out of order."""
        if index != self._index or len(results) > len(self._sent):
            raise InternalError("The answers of a stream came out of their order.")
        for result in results:
            self._index += 1
            self._tries = 0
            yield self._sent.popleft(), result

    def end(self) -> None:
        """Raise what the items raised, once all that came before was answered."""
        if self._fault is not None:
            raise self._fault

    def begin(self) -> None:
        """Go on, on a new connection, with whatever wasn't answered."""
        self._anew.extendleft(reversed(self._sent))
        self._sent.clear()
        self._index = 0

    def pause(self, error: PiivaultError) -> float:
        """Return the seconds after which to try again; raise the error if that makes no sense."""
        self._tries += 1
        if not error.retryable or self._tries >= _TRIES:
            raise error
        return _PAUSES[self._tries - 1] * (1 + SystemRandom().random())
