"""Reports for tests of pages: Айгүл's year in accounts, in three languages, and hostile ones."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from piivault import Report
from piivault.v1 import errors_pb2, types_pb2
from piivault.v1 import subject_service_pb2 as pb

LANGUAGES = ("ky", "ru", "en")
REGISTERED = datetime(2026, 3, 2, 4, 11, 9, 123456, tzinfo=UTC)
TITLES = {
    "ky": ("Каттоо жазуулары", "Өмүрбектин бөлүмү", "Жаңылыктарды жөнөтүү", "Шаңдуу Үй"),
    "ru": ("Учётные записи пользователей", "Отдел услуг", "Рассылка новостей", "Почта"),
    "en": ("User accounts", "Services department", "Newsletter", "The post"),
}  # fmt: skip
FIELDS = {
    "ky": ("Аты", "Телефон", "Шаар"),
    "ru": ("Имя", "Телефон", "Город"),
    "en": ("First name", "Telephone", "City"),
}


def stamp(at: datetime) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(at)
    return moment


def message(language: str = "ky", *, text: str = "") -> pb.ReportResponse:
    """Write a report; with `text`, it stands wherever a text can stand."""
    title, owner, purpose, recipient = (text or said for said in TITLES[language])
    names = [text or said for said in FIELDS[language]]
    fields = [pb.Named(name=f"field_{n}", title=said) for n, said in enumerate(names)]
    its_owner = pb.Named(name=text or "municipal_services", title=owner)
    its_purpose = pb.Named(name=text or "newsletter", title=purpose)
    said = pb.Processing(
        as_of=stamp(REGISTERED + timedelta(days=200)),
        language=language,
        title=title,
        kind=types_pb2.SUBJECT_KIND_PERSON,
        edition=2,
        in_force=stamp(REGISTERED),
        law=text or "№ 58",
        registered_at=stamp(REGISTERED),
        fields=[
            pb.HeldField(
                field=field,
                voluntary=n == 2,
                set_at=stamp(REGISTERED),
                kept_until=stamp(REGISTERED + timedelta(days=1096)),
            )
            for n, field in enumerate(fields)
        ],
        purposes=[
            pb.ReportedPurpose(
                purpose=its_purpose,
                description=text or "…",
                basis="consent",
                basis_text=text or "…",
                retention=text or "1 жыл",
                fields=[pb.SeenField(field=fields[0], form=types_pb2.FORM_PLAIN)],
                recipients=[pb.Named(name="post", title=recipient)],
                joins=[text or "Буйрутмалар"],
            ),
        ],
        consents=[
            pb.ReportedConsent(
                title=purpose,
                consent=types_pb2.ConsentState(
                    purpose="newsletter", edition=1, language="ky", given_at=stamp(REGISTERED)
                ),
            )
        ],
    )

    def event(days: int, operation: str, **parts: object) -> pb.ReportedEvent:
        at = stamp(REGISTERED + timedelta(days=days))
        service = {"service": text or "newsletter", "owner": its_owner}
        return pb.ReportedEvent(at=at, edition=1, operation=operation, **{**service, **parts})  # type: ignore[arg-type]

    seen = [
        pb.SeenField(field=fields[0], form=types_pb2.FORM_PLAIN),
        pb.SeenField(field=fields[1], form=types_pb2.FORM_MASKED),
    ]
    post = pb.Named(name="post", title=recipient)
    refused = errors_pb2.ERROR_REASON_CONSENT_REQUIRED
    events = [
        event(0, "register"),
        event(1, "reveal", purpose=its_purpose, fields=seen),
        event(2, "reveal", purpose=its_purpose, fields=seen[:1], recipient=post),
        event(3, "find", purpose=its_purpose, fields=seen[1:]),
        event(4, "reveal", purpose=its_purpose, fields=seen, refused=refused),
        event(5, text or "put", fields=[pb.SeenField(field=fields[2])]),
        event(6, "rotate", service="piivault", owner=None),
    ]
    request = types_pb2.SubjectRequest(
        id=bytes(range(16)),
        kind=types_pb2.REQUEST_KIND_REPORT,
        state=types_pb2.REQUEST_STATE_OPEN,
        opened="2026-09-18",
        due="2026-09-25",
    )
    return pb.ReportResponse(processing=said, events=events, request=request)


def report(language: str = "ky", *, text: str = "") -> Report:
    return Report.of([message(language, text=text)])


def quiet(language: str) -> Report:
    """A report of somebody whom nobody looked at, who holds nothing and agreed to nothing."""
    said = message(language)
    for name in ("fields", "purposes", "consents"):
        said.processing.ClearField(name)
    said.ClearField("events")
    return Report.of([said])
