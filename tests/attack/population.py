"""A thousand made-up people, and three years of what they do in all four compartments at once.

It is written for the attacker: whoever comes, comes to every compartment in the same minute and in
the same order; values are the same wherever they can be; who writes much writes much everywhere.
Some leave and come back, some leave for good, some forget to come, and are swept.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.people import COMPARTMENTS

PURPOSES: Mapping[str, tuple[str, ...]] = {
    "accounts": ("account", "services", "newsletter"),
    "enterprises": ("account",),
    "orders": ("services",),
    "web": ("statistics",),
}
# Who sees what in the edition: the service, its purpose, the compartment, the fields.
READS = (
    ("orders", "services", "accounts", ("first_name", "phone")),
    ("orders", "services", "orders", ("address", "item_note")),
    ("support", "account", "accounts", ("last_name", "email")),
    ("newsletter", "newsletter", "accounts", ("email",)),
    ("analytics", "statistics", "web", ("user_agent",)),
)
STAYING = 1000
LEFT = 60  # erased everywhere, for good
FORGOTTEN = 30  # in orders and web only, and never seen again
DAY = 24 * 3600
APART = 30 * DAY  # between two visits of a person, at least
BEGAN = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp())
YEARS = 3 * 365 * DAY
SWEEPS = (BEGAN + YEARS // 3, BEGAN + YEARS // 2)

_NAMES = ("Токтогулова", "Өмүрбеков", "Осмонова", "Жусупов", "Сыдыкова", "Абдрахманов", "Бек")
_FIRST = ("Айгүл", "Нурлан", "Гүлнара", "Эрмек", "Бактыгүл", "Сапар", "Жаннат")
_WORDS = ("эшиктин", "алдына", "коюңуз", "кечинде", "чалыңыз", "домофон", "иштебейт", "кире")


@dataclass(frozen=True, slots=True)
class Person:
    """A subject; `values` by compartment: all that they ever give at once."""

    number: int
    root: bytes
    eager: float  # 0 to 1: how much they fill in and agree to
    values: Mapping[str, Mapping[str, str]]
    compartments: Sequence[str] = COMPARTMENTS


@dataclass(frozen=True, slots=True)
class Act:
    """One call. Portal's, or a service's where there is one; `what` has what the call needs."""

    operation: str  # register, put, grant, withdraw, erase, reveal
    compartment: str
    what: Sequence[str] = ()  # purposes, or a field and its value
    service: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """What somebody does in one visit, in this order."""

    at: int  # seconds since 1970
    person: Person
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class Population:
    """The first STAYING people are in every compartment at the end."""

    people: Sequence[Person]
    sessions: Sequence[Session]

    @property
    def staying(self) -> Sequence[Person]:
        return self.people[:STAYING]

    @property
    def left(self) -> Sequence[Person]:
        return self.people[STAYING : STAYING + LEFT]


def draw(seed: int) -> Population:
    """Draw them and their three years."""
    chance = random.Random(seed)
    phones = _phones(chance)
    people = [_person(chance, n, next(phones)) for n in range(STAYING + LEFT + FORGOTTEN)]
    sessions = [s for person in people for s in _life(chance, person)]
    return Population(people, sorted(sessions, key=lambda s: s.at))


def _phones(chance: random.Random) -> Iterator[str]:
    """Households share a telephone: of one, two or three."""
    while True:
        phone = f"+996 555 {chance.randrange(10**6):06}"
        yield from [phone] * chance.choices((1, 2, 3), (80, 15, 5))[0]


def _person(chance: random.Random, number: int, phone: str) -> Person:
    last, first, eager = chance.choice(_NAMES), chance.choice(_FIRST), chance.random()
    mark = chance.randbytes(chance.randint(3, 9)).hex()
    email = f"{mark}.{number}@example.kg"
    accounts = {"last_name": last, "first_name": first, "patronymic": chance.choice(_NAMES)}
    accounts |= {"email": email, "phone": phone}
    note = " ".join(chance.choices(_WORDS, k=1 + int(eager * 60)))
    if eager > 0.4:
        accounts |= {"city": "Ош", "organisation": note}
    values = {
        "accounts": accounts,
        "enterprises": {
            "name": f"«Ош Нан» ЖЧК {mark}",
            "tax_id": f"{chance.randrange(10**14):014}",
            "contact_person": f"{last} {first}",
            "email": email,
            "phone": phone,
        },
        "orders": {"address": f"Ош, Ленин көчөсү {mark}"}
        | ({"item_note": note} if eager > 0.3 else {}),
        "web": {"cookie_id": f"cookie-{mark}", "user_agent": "Mozilla/5.0 " + "x" * len(note)},
    }
    places = COMPARTMENTS if number < STAYING + LEFT else ("orders", "web")
    return Person(number, chance.randbytes(16), eager, values, places)


def _life(chance: random.Random, person: Person) -> Iterator[Session]:
    """Come; perhaps return, or leave and return; at last renew everything, or go."""
    last_visit = BEGAN + YEARS - chance.randrange(1, 100 * DAY)
    came = BEGAN + chance.randrange(YEARS - 200 * DAY)
    new = person.number < STAYING and chance.random() < 0.1
    if new:
        came = BEGAN + YEARS - chance.randrange(1, 60 * DAY)
    if person.number >= STAYING + LEFT:
        came = BEGAN + chance.randrange(YEARS // 9)
    yield Session(came, person, [*_registering(person), *_read(chance)])
    if person.number >= STAYING:
        if person.number < STAYING + LEFT:
            yield Session(last_visit, person, [Act("erase", c) for c in person.compartments])
        return
    if new:
        return
    then = chance.randrange(came + APART, last_visit - 2 * APART)
    lot = chance.random()
    if lot < 0.05:
        yield Session(then, person, [Act("erase", c) for c in person.compartments])
        back = chance.randrange(then + APART, last_visit - APART)
        yield Session(back, person, _registering(person))
    elif lot < 0.2:
        yield Session(then, person, _changes(person))
    if came < SWEEPS[0] + 2 * APART or lot > 0.8:
        yield Session(last_visit, person, [*_renewing(person), *_read(chance)])


def _registering(person: Person) -> list[Act]:
    return [Act("register", c, _agreed(person, c)) for c in person.compartments]


def _renewing(person: Person) -> list[Act]:
    """Consent anew where data doesn't last for three years; who was swept comes back."""
    return [Act("grant", c, _agreed(person, c)) for c in ("orders", "web")]


def _changes(person: Person) -> list[Act]:
    """Write a voluntary value, withdraw what is voluntary."""
    acts = [Act("put", "orders", ("item_note", person.values["accounts"]["email"]))]
    acts += [Act("put", "accounts", ("position", "мугалим"))]
    acts += [Act("put", "web", ("user_agent", "Mozilla/6.0"))]
    if person.eager > 0.5:
        acts += [
            Act("withdraw", "accounts", ("newsletter",)),
            Act("withdraw", "web", PURPOSES["web"]),
        ]
    return acts


def _agreed(person: Person, compartment: str) -> Sequence[str]:
    purposes = PURPOSES[compartment]
    return purposes[: max(1, round(len(purposes) * (0.3 + 0.7 * person.eager)))]


def _read(chance: random.Random) -> Iterator[Act]:
    for service, purpose, compartment, fields in READS:
        if chance.random() < 0.07:
            yield Act("reveal", compartment, (purpose, *fields), service)
