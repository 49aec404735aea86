"""The story: what the privacy policy of the city of Osh promises, kept one promise a step.

Each step does with the SDK what a service of the city would do, and checks what comes back.
"""

import hashlib
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from piivault import Form
from piivault.errors import ConsentRequired, Erased, FieldBeyondPurpose, NotFound, NotGranted
from rich.panel import Panel

from examples.osh.cast import (
    AIGUL,
    AIGULS_ORDER,
    AIGULS_VISIT,
    BAKERY,
    BEKZAT,
    POLICY,
    Cast,
)
from examples.osh.office import publish, seconds_until, wider_edition
from examples.osh.presence import subject_must_be_there
from examples.osh.stage import Stage, step
from examples.osh.thief import thief_reads, thief_searches
from examples.osh.trail import audit_trail, event_is_missed

# What would let the statistics know whose visits they count.
BRIDGE = "  - {service: analytics, purpose: account, compartment: accounts, operations: [reveal]}\n"


@step("1.2")
def notice_is_shown(stage: Stage, cast: Cast) -> None:
    """Айгүл is shown what she would agree to, in Kyrgyz."""
    stage.asks('portal: notices("accounts", "ky")')
    notices = {notice.purpose: notice for notice in cast.portal.notices("accounts", "ky")}
    stage.answers(f"a notice for each purpose: {', '.join(notices)}. The one for services:")
    services = notices["services"]
    stage.show(
        Panel(services.text.strip(), title=f"services, edition {services.edition}", padding=(0, 1))
    )
    digest = hashlib.sha256(services.text.encode()).digest()
    stage.check("a consent will carry the digest of this very text", digest == services.digest)


@step("2.1, 2.3")
def person_registers(stage: Stage, cast: Cast) -> None:
    """Айгүл registers, and agrees to two purposes of the three."""
    notices = cast.portal.notices("accounts", "ky")
    consents = [n.accept() for n in notices if n.purpose in ("account", "services")]
    stage.asks(f"portal: register {', '.join(AIGUL)} in accounts; consents: account, services")
    cast.aigul.register("accounts", AIGUL, consents)

    own = cast.aigul.view("accounts")  # she may always see what is held of her
    held = {name: secret.expose() for name, secret in own.items() if secret}
    stage.answers(f"registered; a value's repr is {own['phone']!r} until somebody exposes it")
    stage.check("what she sees of herself is what she gave", held == AIGUL)
    stage.check(
        "consents stand for these two purposes alone",
        [consent.purpose for consent in own.consents if consent.stands] == ["account", "services"],
    )


@step("1.2, 2.4 d")
def order_and_visit(stage: Stage, cast: Cast) -> None:
    """Her order and her visit have compartments of their own."""
    stage.asks("portal: register her address in orders, her cookie in web")
    for compartment, values in (("orders", AIGULS_ORDER), ("web", AIGULS_VISIT)):
        notices = cast.portal.notices(compartment, "ky")
        cast.aigul.register(compartment, values, [n.accept() for n in notices])

    pseudonyms = {name: cast.aigul.pseudonym(name) for name in ("accounts", "orders", "web")}
    stage.answers("three pseudonyms, one a compartment; each service is given its own")
    stage.check("no two of them are alike", len(set(pseudonyms.values())) == 3)


@step("2.2")
def enterprise_registers(stage: Stage, cast: Cast) -> None:
    """Бекзат registers himself, and his bakery as an enterprise."""
    stage.asks("portal: register a person in accounts, an enterprise in enterprises")
    consents = [n.accept() for n in cast.portal.notices("accounts", "ky")]
    cast.bekzat.register("accounts", BEKZAT, consents)
    consents = [n.accept() for n in cast.portal.notices("enterprises", "ky")]
    cast.bakery.register("enterprises", BAKERY, consents, kind="enterprise")

    own = cast.bakery.view("enterprises", ["name"])
    name = own["name"].expose() if own["name"] else "nobody"
    stage.answers(f"{name} is registered")
    stage.check("it is an enterprise's record", (name, own.kind) == (BAKERY["name"], "enterprise"))


@step("2.4 b, 2.5")
def purpose_is_served(stage: Stage, cast: Cast) -> None:
    """The orders service needs a name and a phone to deliver."""
    accounts = cast.orders.compartment("accounts", purpose="services")
    stage.asks("orders, for services: reveal first_name and phone")
    got = accounts.reveal(cast.aigul.pseudonym("accounts"), ["first_name", "phone"])
    name, phone = got["first_name"].expose(), got["phone"].expose()
    stage.answers(f"{name}, {phone}")
    stage.check("these are hers", (name, phone) == (AIGUL["first_name"], AIGUL["phone"]))


@step("2.4 c")
def field_beyond_purpose(stage: Stage, cast: Cast) -> None:
    """A field beyond the purpose is refused."""
    accounts = cast.orders.compartment("accounts", purpose="services")
    stage.asks("orders, for services: reveal email")
    with stage.refused(FieldBeyondPurpose):
        accounts.reveal(cast.aigul.pseudonym("accounts"), ["email"])


@step("2.4 b")
def purpose_without_grant(stage: Stage, cast: Cast) -> None:
    """A purpose that the service has no grant for is refused."""
    accounts = cast.orders.compartment("accounts", purpose="newsletter")
    stage.asks("orders, for newsletter: reveal email")
    with stage.refused(NotGranted):
        accounts.reveal(cast.aigul.pseudonym("accounts"), ["email"])


@step("2.4 d")
def join_by_pseudonym(stage: Stage, cast: Cast) -> None:
    """A join is refused: her pseudonym in accounts is nobody's in web."""
    web = cast.analytics.compartment("web", purpose="statistics")
    stage.asks("analytics, for statistics: reveal user_agent by the pseudonym for web")
    got = web.reveal(cast.aigul.pseudonym("web"), ["user_agent"])
    stage.answers(got["user_agent"].expose())
    stage.asks("analytics: the same, by a pseudonym that leaked from accounts")
    with stage.refused(NotFound):
        web.reveal(cast.aigul.pseudonym("accounts"), ["user_agent"])


@step("2.4 d")
def join_by_reading(stage: Stage, cast: Cast) -> None:
    """A join is refused: who counts visits can't read accounts."""
    accounts = cast.analytics.compartment("accounts", purpose="account")
    stage.asks("analytics, for account: reveal last_name in accounts")
    with stage.refused(NotGranted):
        accounts.reveal(cast.aigul.pseudonym("accounts"), ["last_name"])


@step("2.4 d")
def join_by_edition(stage: Stage, cast: Cast) -> None:
    """A join is refused: no edition may let one service hold both."""
    piivault = Path(sysconfig.get_path("scripts"), "piivault")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(POLICY.read_text(encoding="utf-8") + BRIDGE)
        file.flush()
        stage.asks(
            f"an officer adds one grant, and runs `piivault policy check`:\n{BRIDGE.rstrip()}"
        )
        checked = subprocess.run(
            [piivault, "policy", "check", file.name], capture_output=True, text=True, check=False
        )
    stage.answers(checked.stderr.strip())
    stage.check(
        "it can't be published, and the sentence says why",
        checked.returncode == 1
        and "analytics would hold both accounts and web, which aren't joinable" in checked.stderr,
    )


@step("2.4 c")
def support_sees_masks(stage: Stage, cast: Cast) -> None:
    """Support finds her by e-mail, and sees only what helping takes."""
    accounts = cast.support.compartment("accounts", purpose="account")
    stage.asks('support, for account: find(email="Aigul@Example.KG"), then reveal')
    found = accounts.find(email="Aigul@Example.KG")  # the index normalises, as people type
    stage.check("exactly she is found", found == cast.aigul.pseudonym("accounts"))
    got = accounts.reveal(found or "", ["first_name", "email", "phone", "city"])
    shown = {name: secret.expose() for name, secret in got.items()}
    stage.answers(", ".join(f"{name} {value}" for name, value in shown.items()))
    stage.check(
        "e-mail and phone come masked",
        shown == {"first_name": AIGUL["first_name"], "email": "a***@***.kg", "phone": "***72"},
    )
    stage.check(
        "of her city support knows only that she gave one",
        got.present("city") and "city" not in got and got.forms["city"] is Form.PRESENT,
    )


@step("1.1 g")
def edition_widens_a_purpose(stage: Stage, cast: Cast) -> None:
    """A new edition widens a purpose, and her old consent does not stretch over it."""
    stage.asks("an officer: `piivault policy publish` an edition in which services sees email too")
    published = publish(cast, wider_edition())
    stage.answers(published)
    stage.check("it is in effect", "edition 2: in effect. Approved by aida." in published)
    stage.check("every worker decides by it within 2 seconds", seconds_until(cast, 2) < 2)

    stage.asks("orders, for services: reveal phone and email")
    accounts = cast.orders.compartment("accounts", purpose="services")
    got = accounts.reveal(cast.aigul.pseudonym("accounts"), ["phone", "email"])
    stage.answers(f"{got['phone'].expose()}; withheld: {', '.join(got.withheld)}")
    stage.check("the phone comes, as she agreed; the e-mail doesn't", got.withheld == {"email"})
    consents = {c.purpose: c.ask_again for c in cast.aigul.view("accounts", ["email"]).consents}
    stage.check("the portal sees that it should ask her again", consents["services"])


@step("1.2")
def consent_is_given_anew(stage: Stage, cast: Cast) -> None:
    """She is shown the new notice, and agrees."""
    stage.asks("portal: grant services in accounts, with the notice of edition 2")
    notices = cast.portal.notices("accounts", "ky")
    cast.aigul.grant("accounts", [n.accept() for n in notices if n.purpose == "services"])
    accounts = cast.orders.compartment("accounts", purpose="services")
    got = accounts.reveal(cast.aigul.pseudonym("accounts"), ["email"])
    stage.answers(got["email"].expose())
    stage.check("now the e-mail comes too", got["email"].expose() == AIGUL["email"])


@step("2.5")
def consent_is_withdrawn(stage: Stage, cast: Cast) -> None:
    """Айгүл withdraws her consent to services."""
    stage.asks("portal: withdraw services in accounts")
    cast.aigul.withdraw("accounts", ["services"])
    consents = cast.aigul.view("accounts", ["first_name"]).consents
    stage.answers("withdrawn; it stays on record that it was given, and when it ended")
    stage.check(
        "only the consent to account stands",
        [consent.purpose for consent in consents if consent.stands] == ["account"],
    )


@step("2.5")
def next_read_is_refused(stage: Stage, cast: Cast) -> None:
    """The very next read is refused."""
    accounts = cast.orders.compartment("accounts", purpose="services")
    stage.asks("orders, for services: reveal first_name and phone, as before")
    with stage.refused(ConsentRequired):
        accounts.reveal(cast.aigul.pseudonym("accounts"), ["first_name", "phone"])


@step("3.1.2")
def account_is_erased(stage: Stage, cast: Cast) -> None:
    """Айгүл deletes her account, and services are told so."""
    stage.asks("portal: erase accounts")
    cast.aigul.erase("accounts")
    stage.asks("support, for account: reveal last_name of her, and of Бекзат")
    accounts = cast.support.compartment("accounts", purpose="account")
    with stage.refused(Erased):
        accounts.reveal(cast.aigul.pseudonym("accounts"), ["last_name"])
    other = accounts.reveal(cast.bekzat.pseudonym("accounts"), ["last_name"])
    stage.check("Бекзат's record is untouched", other["last_name"].expose() == BEKZAT["last_name"])


STORY = (
    notice_is_shown,
    person_registers,
    order_and_visit,
    enterprise_registers,
    purpose_is_served,
    field_beyond_purpose,
    purpose_without_grant,
    join_by_pseudonym,
    join_by_reading,
    join_by_edition,
    support_sees_masks,
    edition_widens_a_purpose,
    consent_is_given_anew,
    consent_is_withdrawn,
    next_read_is_refused,
    account_is_erased,
    subject_must_be_there,
    thief_reads,
    thief_searches,
    audit_trail,
    event_is_missed,
)
