"""Owners with one service in `web`, and ways in which an edition could move them to `accounts`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from tests.attack.actors import Actors, adding, grant, owner, service


@dataclass(frozen=True, slots=True)
class Mover:
    """An owner with one service, which may reveal in web; and how that stands in the edition."""

    name: str
    ident: str

    @property
    def service(self) -> str:
        return f"{self.name}-one"

    @property
    def second(self) -> str:
        return f"{self.name}-two"

    @property
    def owned(self) -> str:
        return owner(self.name, self.ident)

    @property
    def served(self) -> str:
        return service(self.service, self.name)

    @property
    def granted(self) -> str:
        return grant(self.service, "web", "reveal", "put")


def mover(name: str) -> Mover:
    """Make up an owner."""
    return Mover(name, str(uuid4()))


def let_in(actors: Actors, movers: Iterable[Mover]) -> None:
    """Have all of them begin in web."""
    everybody = list(movers)
    actors.publish(
        actors.draft(
            *adding(
                owners=[m.owned for m in everybody],
                services=[m.served for m in everybody],
                grants=[m.granted for m in everybody],
            )
        )
    )
    actors.wait()


TextChange = tuple[str, str]
How = Callable[[Mover], Sequence[TextChange]]
HOW: dict[str, How] = {
    "the same service": lambda m: [(m.granted, grant(m.service, "accounts"))],
    "the same service, by put alone": lambda m: [(m.granted, grant(m.service, "accounts", "put"))],
    "the same service, by find alone": lambda m: [
        (m.granted, grant(m.service, "accounts", "find"))],
    "the same service, for another purpose": lambda m: [
        (m.granted, grant(m.service, "accounts", purpose="newsletter"))],
    "a renamed service": lambda m: [
        (m.served, m.served.replace(f"{m.service}:", f"{m.second}:")),
        (m.granted, grant(m.second, "accounts"))],
    "a new SPIFFE id": lambda m: [
        (m.served, service(m.service, m.name, spiffe="spiffe://oshto.kg/changed/" + m.name)),
        (m.granted, grant(m.service, "accounts"))],
    "a renamed service with a new SPIFFE id": lambda m: [
        (m.served, service(m.second, m.name)), (m.granted, grant(m.second, "accounts"))],
    "another service of the owner": lambda m: [
        (m.served, m.served + service(m.second, m.name)),
        (m.granted, grant(m.second, "accounts"))],
    "a renamed owner": lambda m: [
        (m.owned, owner(f"{m.name}-new", m.ident)),
        (m.served, service(m.service, f"{m.name}-new")),
        (m.granted, grant(m.service, "accounts"))],
    "a renamed owner, with another service": lambda m: [
        (m.owned, owner(f"{m.name}-new", m.ident)),
        (m.served, service(m.second, f"{m.name}-new")),
        (m.granted, grant(m.second, "accounts"))],
    "an owner that is spelled otherwise": lambda m: [
        (m.owned, owner(m.name, m.ident.upper())), (m.granted, grant(m.service, "accounts"))],
}  # fmt: skip
