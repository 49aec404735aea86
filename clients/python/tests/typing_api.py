"""The whole public API as a user writes it. Checked by mypy --strict and never run."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from piivault import (
    TLS,
    AsyncClient,
    AsyncCompartmentClient,
    AsyncSubject,
    Client,
    CompartmentClient,
    Consent,
    ConsentState,
    Description,
    FieldDescription,
    Form,
    Notice,
    PiivaultError,
    Put,
    PutItem,
    Revealed,
    RevealedItem,
    RootId,
    Secret,
    Subject,
    SubjectKind,
    SubjectView,
    errors,
    new_root,
)


def portal(vault: Client) -> str:
    """What a subject-facing service does."""
    root: RootId = new_root()
    kept: str = root.expose()
    person: Subject = vault.subject(RootId.parse(kept))
    fresh: Callable[[], str] = str
    person = vault.subject(root, assertion=fresh)
    person = vault.subject(root, assertion="eyJ…")
    notices: list[Notice] = vault.notices("accounts", "ky", timeout=1.0)
    consents: list[Consent] = [n.accept() for n in notices if n.consent_needed and n.text]
    kind: SubjectKind = "person"
    etag: str = person.register("accounts", {"email": "a@b.kg"}, consents, kind=kind)
    etag = person.register("accounts", {"email": "a@b.kg"}, consents=consents, request_id="…")
    etag = person.put("accounts", {"email": "b@b.kg", "city": None}, etag=etag, timeout=1)
    etag = person.grant("accounts", consents)
    etag = person.withdraw("accounts", [consents[0].purpose])
    own: SubjectView = person.view("accounts", ["email"])
    email: Secret | None = own["email"]
    states: tuple[ConsentState, ...] = own.consents
    since: datetime = states[0].given_at
    until: datetime | None = states[0].withdrawn_at
    if email and own.kind == "person" and states[0].stands and until is None and since:
        etag = own.etag
    person.erase("accounts")
    return person.pseudonym("accounts")


def service(vault: Client, pseudonym: str) -> list[str]:
    """What an internal service does."""
    accounts: CompartmentClient = vault.compartment("accounts", purpose="services")
    got: Revealed = accounts.reveal(pseudonym, ["first_name", "phone"], timeout=0.5)
    form: Form = got.forms["phone"]
    phone: Secret | None = got.get("phone")
    values = [phone.expose() if phone else "", got["first_name"].expose(), form.value]
    etag: str = accounts.put(pseudonym, {"phone": None}, etag=got.etag, request_id="…")
    item: RevealedItem
    for name in accounts.list_records(["phone"], page_size=50):
        pseudonym = name
    done: Put
    for done in accounts.bulk_put([PutItem(pseudonym, {"phone": "1", "city": None})], timeout=9):
        changed: str = done.unwrap()
        why: PiivaultError | None = done.error
        if done.etag == changed and why is None:
            break
    for item in accounts.stream_reveal(iter([pseudonym]), ["phone"], recipient="post"):
        if item.error:
            break
    for item in accounts.reveal_many([pseudonym], ["phone"], batch_size=50):
        error: PiivaultError | None = item.error
        record: Revealed | None = item.record
        if error is None and record is not None and item.unwrap().present("phone"):
            values += [item["phone"].expose(), item.pseudonym, etag, str(got.edition)]
    one: str | None = accounts.find(email="a@b.kg")
    several: list[str] = accounts.find_all(phone="+996555123456", timeout=1)
    described: Description = accounts.describe()
    fields: tuple[FieldDescription, ...] = described.fields
    names = [f.name for f in fields if f.findable and not f.voluntary and f.form is Form.PLAIN]
    return values + several + names + [one or "", *described.operations, str(described.edition)]


def failures(vault: Client, pseudonym: str) -> tuple[str, str, bool, float | None, dict[str, str]]:
    """What is known of an error."""
    try:
        vault.compartment("accounts", purpose="services").reveal(pseudonym, ["phone"])
    except errors.ConsentRequired:
        raise
    except PiivaultError as error:
        return error.reason, error.request_id, error.retryable, error.retry_after, error.violations
    raise AssertionError


def opening() -> None:
    """The ways to open a client."""
    with Client.from_env() as vault:
        vault.close()
    with Client(
        "host:8443",
        tls=TLS(ca="ca.pem", certificate="portal.pem", private_key="portal.key"),
        timeout=2.0,
        connections=4,
        broker_address="broker:8443",
        compartment_addresses={"web": "web:8443"},
    ) as vault:
        vault.notices("accounts", "ky")


async def awaited(pseudonym: str, fresh: Callable[[], Awaitable[str]]) -> None:
    """The same, awaited."""
    async with AsyncClient.from_env({"PIIVAULT_ADDRESS": "host:8443"}) as vault:
        person: AsyncSubject = vault.subject(new_root())
        person = vault.subject(new_root(), assertion=fresh)
        person = vault.subject(new_root(), assertion="eyJ…")
        notices: list[Notice] = await vault.notices("accounts", "ky")
        etag: str = await person.register("accounts", {}, [n.accept() for n in notices])
        etag = await person.put("accounts", {"city": None}, etag=etag)
        etag = await person.grant("accounts", [])
        etag = await person.withdraw("accounts", ["services"])
        own: SubjectView = await person.view("accounts")
        await person.erase("accounts", request_id=own.etag)
        accounts: AsyncCompartmentClient = vault.compartment("accounts", purpose="services")
        got: Revealed = await accounts.reveal(await person.pseudonym("accounts"), ["phone"])
        async for name in accounts.list_records(["phone"], timeout=2.0):
            pseudonym = name
        async for done in accounts.bulk_put([PutItem(pseudonym, {}, request_id="…")]):
            done.unwrap()
        async for item in accounts.stream_reveal([pseudonym], ["phone"]):
            item.unwrap()
        async for item in accounts.reveal_many([pseudonym], ["phone"]):
            secret: Secret = item["phone"]
            secret.expose()
        etag = await accounts.put(pseudonym, {}, etag=got.etag)
        one: str | None = await accounts.find(email="a@b.kg")
        several: list[str] = await accounts.find_all(email=one or "")
        described: Description = await accounts.describe()
        assert several or described.operations
    await vault.close()
