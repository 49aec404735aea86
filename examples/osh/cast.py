"""Who plays: two people, an enterprise, and the city's services, each with its own certificate."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import piivault
from piivault import Client, RootId, Subject

from examples.osh.identity_provider import IdentityProvider
from vault.dev import Running

POLICY = Path(__file__).with_name("policy.yaml")
COMPARTMENTS = ("accounts", "enterprises", "orders", "web")

AIGUL = {
    "last_name": "Токтогулова",
    "first_name": "Айгүл",
    "patronymic": "Асан кызы",
    "email": "aigul@example.kg",
    "phone": "+996 559 413072",
    "city": "Өзгөн шаары",
}
AIGULS_ORDER = {
    "address": "Ош шаары, Курманжан Датка көчөсү 183, 12-батир",
    "item_note": "Кечки саат алтыдан кийин чалыңыз",
}
AIGULS_VISIT = {
    "cookie_id": "c-7f0f7a52a1b94d0e",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
}
BEKZAT = {
    "last_name": "Осмонов",
    "first_name": "Бекзат",
    "patronymic": "Ишенбек уулу",
    "email": "bekzat@oshnan.example",
    "phone": "+996 772 860419",
    "position": "Наабайкананын башчысы",
}
BAKERY = {
    "name": "«Ош Нан» жоопкерчилиги чектелген коому",
    "tax_id": "01234567890123",
    "contact_person": "Осмонов Бекзат",
    "email": BEKZAT["email"],
    "phone": BEKZAT["phone"],
}
VALUES = sorted(
    {v for given in (AIGUL, AIGULS_ORDER, AIGULS_VISIT, BEKZAT, BAKERY) for v in given.values()}
)


@dataclass(frozen=True, slots=True)
class Cast:
    """The running stack, the services' clients, and the subjects as the portal knows them."""

    running: Running
    portal: Client
    orders: Client
    support: Client
    analytics: Client
    identity_provider: IdentityProvider
    roots: tuple[RootId, ...]  # the portal keeps them beside its own accounts, and nobody else
    aigul: Subject
    bekzat: Subject
    bakery: Subject


@contextmanager
def gather(running: Running, identity_provider: IdentityProvider) -> Iterator[Cast]:
    """Open every service's client, and draw a root id for each subject."""
    with ExitStack() as stack:
        portal, orders, support, analytics = (
            stack.enter_context(Client.from_env(environment(running.environments[name])))
            for name in ("portal", "orders", "support", "analytics")
        )
        roots = (piivault.new_root(), piivault.new_root(), piivault.new_root())
        aigul, bekzat, bakery = (portal.subject(root) for root in roots)
        yield Cast(
            running=running,
            portal=portal,
            orders=orders,
            support=support,
            analytics=analytics,
            identity_provider=identity_provider,
            roots=roots,
            aigul=aigul,
            bekzat=bekzat,
            bakery=bakery,
        )


def environment(file: Path) -> dict[str, str]:
    """Read an env file that the stack wrote, as a shell would; and be patient."""
    words = shlex.split(file.read_text(encoding="utf-8"), comments=True)
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    return variables | {"PIIVAULT_TIMEOUT": "10"}
