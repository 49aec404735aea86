"""The SDK of piivault, the personal-data vault whose compartments can't be joined.

The portal faces the person, so it acts for them:

    import piivault

    root = piivault.new_root()                   # kept by the portal, beside the account
    with piivault.Client.from_env() as vault:
        notices = vault.notices("accounts", "ky")
        consents = [notice.accept() for notice in notices if notice.consent_needed]
        person = vault.subject(root)
        person.register("accounts", {"first_name": "Айгүл", …}, consents)
        pseudonym = person.pseudonym("accounts")  # what the orders service may know

The orders service reads what its purpose sees, and nothing else:

    with piivault.Client.from_env() as vault:
        accounts = vault.compartment("accounts", purpose="services")
        got = accounts.reveal(pseudonym, ["first_name", "phone"])
        send(got["phone"].expose())              # a Secret: its repr is redacted

`AsyncClient` is the same, awaited. `piivault.errors` draws the tree of what can go wrong.
The generated messages are in `piivault.v1`.
"""

from piivault._certificate import TLS
from piivault._report import (
    HeldField,
    Named,
    Report,
    ReportedConsent,
    ReportedEvent,
    ReportedPurpose,
    SeenField,
)
from piivault._requests import Erasure, KeptByLaw, SealedExport, SubjectRequest
from piivault._types import (
    Consent,
    ConsentState,
    ConsentText,
    Description,
    FieldDescription,
    Form,
    Notice,
    Put,
    PutItem,
    Revealed,
    RevealedItem,
    RootId,
    Secret,
    SubjectKind,
    SubjectView,
    new_root,
)
from piivault.aio import AsyncClient
from piivault.aio_compartment import AsyncCompartmentClient
from piivault.aio_subject import AsyncSubject
from piivault.client import Client
from piivault.compartment import CompartmentClient
from piivault.errors import PiivaultError
from piivault.subject import Subject

__all__ = [
    "AsyncClient",
    "AsyncCompartmentClient",
    "AsyncSubject",
    "Client",
    "CompartmentClient",
    "Consent",
    "ConsentState",
    "ConsentText",
    "Description",
    "Erasure",
    "FieldDescription",
    "Form",
    "HeldField",
    "KeptByLaw",
    "Named",
    "Notice",
    "PiivaultError",
    "Put",
    "PutItem",
    "Report",
    "ReportedConsent",
    "ReportedEvent",
    "ReportedPurpose",
    "Revealed",
    "RevealedItem",
    "RootId",
    "SealedExport",
    "Secret",
    "SeenField",
    "Subject",
    "SubjectKind",
    "SubjectRequest",
    "SubjectView",
    "TLS",
    "new_root",
]
