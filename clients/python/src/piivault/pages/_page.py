"""A page as data: what it says and in which order, before anybody decides how it looks. Pure.

Both forms of a page, HTML and PDF, are written from this and from nothing else.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from piivault._report import HeldField, Named, Report, ReportedEvent, ReportedPurpose, SeenField
from piivault._types import Form
from piivault.errors import InvalidRequest
from piivault.pages._words import WORDS, Words

Lines = tuple[str, ...]

# Characters that would change how others are read: controls, and those of direction.
_UNSEEN = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]")
_READS = frozenset({"reveal", "find"})


@dataclass(frozen=True, slots=True)
class Cell:
    """What matters, and what is said beside it."""

    lines: Lines
    beside: Lines = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the summary, and what it counts."""

    number: int
    label: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `empty` is said instead where it has no rows. `widths` are shares of the whole."""

    headings: tuple[str, ...]
    widths: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str


@dataclass(frozen=True, slots=True)
class Card:
    """One thing with its state and its terms, each a label and lines."""

    title: str
    state: str
    is_open: bool
    text: str
    terms: tuple[tuple[str, Lines], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part under a heading."""

    title: str
    intro: str = ""
    table: Table | None = None
    cards: tuple[Card, ...] = ()
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """What is said of one compartment."""

    title: str
    under: tuple[str, ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All of it."""

    language: str
    title: str
    zone: str
    chapters: tuple[Chapter, ...]


def page(reports: Sequence[Report], zone: tzinfo = UTC) -> Page:
    """Say what reports say, in their language, by the clocks of a zone.

    Raises InvalidRequest for none, for several languages, or one that pages have no words for.
    """
    languages = {report.language for report in reports}
    if len(languages) != 1 or not languages <= WORDS.keys():
        raise InvalidRequest(f"A page is of reports in one language, of: {', '.join(WORDS)}.")
    (language,) = languages
    words = WORDS[language]
    chapters = tuple(_Chapter(report, words, zone).write() for report in reports)
    offset = reports[0].as_of.astimezone(zone).utcoffset() or timedelta()
    clock = words.zone.format(zone=timezone(offset))
    return Page(language, words.title, clock, chapters)


class _Chapter:
    """Writes what one report says."""

    def __init__(self, report: Report, words: Words, zone: tzinfo) -> None:
        self._report = report
        self._words = words
        self._zone = zone

    def write(self) -> Chapter:
        words, report = self._words, self._report
        read, refused, others = _sorted(report.events)
        disclosed = [event for event in read if event.recipient]
        counted = (
            (len(report.fields), words.held_fields),
            (len(read), words.times_read),
            (len(disclosed), words.times_disclosed),
            (len(refused), words.times_refused),
        )
        return Chapter(
            title=_seen(report.title),
            under=(
                words.as_of.format(at=self._time(report.as_of)),
                words.edition.format(number=report.edition, date=self._date(report.in_force)),
                f"{words.law}: {_seen(report.law)}",
            ),
            facts=tuple(Fact(number, label) for number, label in counted),
            notes=tuple(self._notes(read)),
            sections=(
                self._held(),
                self._purposes(),
                self._consents(),
                self._read(read),
                self._refused(refused),
                self._changes(others),
                Section(words.unsaid, items=tuple(words.limits.splitlines())),
            ),
        )

    def _notes(self, read: Sequence[ReportedEvent]) -> Iterable[str]:
        words, report = self._words, self._report
        yield words.registered.format(date=self._date(report.registered_at))
        owners = dict.fromkeys(_name(event.owner) for event in read if event.owner)
        yield words.readers.format(names="; ".join(owners)) if owners else words.nobody_read
        if report.restricted:
            yield words.restricted
        if report.trail_begins:
            yield words.trail_begins.format(at=self._time(report.trail_begins))
        for reason, count in report.unread:
            why = _by(words.unread_why, reason)
            yield words.unread.format(count=count, why=why)

        if asked := report.request:
            yield words.request.format(
                id=asked.id.hex(),
                opened=asked.opened.strftime(words.date),
                due=asked.due.strftime(words.date),
            )

    def _held(self) -> Section:
        words = self._words

        def row(held: HeldField) -> tuple[Cell, ...]:
            name = _name(held.field)
            return (
                Cell((name,), (words.voluntary,) if held.voluntary else ()),
                Cell((self._time(held.set_at),)),
                Cell((self._date(held.kept_until),)),
            )

        rows = tuple(row(held) for held in self._report.fields)
        headings = (words.data, words.since, words.until)
        return Section(words.held, table=Table(headings, (4, 3, 3), rows, words.nothing_held))

    def _purposes(self) -> Section:
        words, purposes = self._words, self._report.purposes
        intro = "" if purposes else words.no_purposes
        return Section(words.purposes, intro, cards=tuple(self._card(its) for its in purposes))

    def _card(self, its: ReportedPurpose) -> Card:
        words = self._words
        recipients = tuple(_name(recipient) for recipient in its.recipients)
        sees = words.would_see if its.closed == "CONSENT_REQUIRED" else words.sees
        terms: list[tuple[str, Lines]] = [
            (words.basis, (_seen(its.basis_text or its.basis),)),
            (sees, self._fields(its.fields)),
            (words.retention, (_seen(its.retention),)),
            (words.recipients, recipients or (words.no_recipients,)),
        ]
        if its.joins:
            terms.append((words.joins, tuple(_seen(joined) for joined in its.joins)))
        state = _by(words.closed, its.closed) if its.closed else words.used
        return Card(_name(its.purpose), state, not its.closed, _seen(its.description), tuple(terms))

    def _consents(self) -> Section:
        words = self._words
        rows = []
        for its in self._report.consents:
            consent = its.consent
            title = _seen(its.title or consent.purpose)
            withdrawn = consent.withdrawn_at
            rows.append(
                (
                    Cell((title,), (words.ask_again,) if consent.ask_again else ()),
                    Cell((str(consent.edition),)),
                    Cell((self._time(consent.given_at),)),
                    Cell((self._time(withdrawn) if withdrawn else words.stands,)),
                )
            )
        headings = (words.purpose, words.edition_number, words.given, words.withdrawn)
        return Section(
            words.consents, table=Table(headings, (5, 2, 3, 3), tuple(rows), words.no_consents)
        )

    def _read(self, events: Sequence[ReportedEvent]) -> Section:
        words = self._words

        def row(event: ReportedEvent) -> tuple[Cell, ...]:
            what = Cell(self._fields(event.fields), tuple(self._besides(event)))
            return (self._when(event), self._who(event), self._what_for(event), what)

        headings = (words.when, words.who, words.what_for, words.data)
        return self._table(words.read, "", headings, row, events, words.nobody_read)

    def _besides(self, event: ReportedEvent) -> Iterable[str]:
        if event.operation == "find":
            yield self._words.looked_up
        if event.recipient:
            yield self._words.disclosed.format(name=_name(event.recipient))

    def _refused(self, events: Sequence[ReportedEvent]) -> Section:
        words = self._words

        def row(event: ReportedEvent) -> tuple[Cell, ...]:
            why = Cell((_by(words.reasons, event.refused),), _names(event.fields))
            return (self._when(event), self._who(event), self._what_for(event), why)

        headings = (words.when, words.who, words.what_for, words.why)
        intro = words.refused_intro if events else ""
        return self._table(words.refused, intro, headings, row, events, words.nobody_refused)

    def _changes(self, events: Sequence[ReportedEvent]) -> Section:
        words = self._words

        def row(event: ReportedEvent) -> tuple[Cell, ...]:
            action = Cell((self._action(event),), _names(event.fields))
            return (self._when(event), action, self._who(event))

        headings = (words.when, words.action, words.who)
        return self._table(words.changes, "", headings, row, events, words.nothing_changed)

    @staticmethod
    def _table(
        title: str,
        intro: str,
        headings: tuple[str, ...],
        row: Callable[[ReportedEvent], tuple[Cell, ...]],
        events: Sequence[ReportedEvent],
        empty: str,
    ) -> Section:
        widths = (3, 4, 4, 6)[: len(headings)]
        return Section(title, intro, Table(headings, widths, tuple(map(row, events)), empty))

    def _when(self, event: ReportedEvent) -> Cell:
        return Cell((self._time(event.at),), (f"{self._words.edition_number} {event.edition}",))

    def _who(self, event: ReportedEvent) -> Cell:
        if event.owner is None:
            return Cell((self._words.clock,), (_seen(event.service),))
        owner = _name(event.owner)
        who = owner if event.purpose else self._words.you.format(owner=owner)
        return Cell((who,), (_seen(event.service),))

    def _what_for(self, event: ReportedEvent) -> Cell:
        return Cell((_name(event.purpose) if event.purpose else self._action(event),))

    def _action(self, event: ReportedEvent) -> str:
        return self._words.actions.get(event.operation, _seen(event.operation))

    def _fields(self, fields: Sequence[SeenField]) -> Lines:
        """Return fields, those that were seen in one form together."""
        forms: dict[Form | None, list[str]] = {}
        for its in fields:
            forms.setdefault(its.form, []).append(_name(its.field))
        said = self._words.forms
        return tuple(
            f"{', '.join(names)} ({said[form]})" if said[form] else ", ".join(names)
            for form, names in forms.items()
        )

    def _date(self, at: datetime) -> str:
        return at.astimezone(self._zone).strftime(self._words.date)

    def _time(self, at: datetime) -> str:
        return at.astimezone(self._zone).strftime(f"{self._words.date} %H:%M:%S")


def _sorted(
    events: Sequence[ReportedEvent],
) -> tuple[list[ReportedEvent], list[ReportedEvent], list[ReportedEvent]]:
    """Return who read, who was refused, and all else."""
    refused = [event for event in events if event.refused]
    read = [e for e in events if not e.refused and e.operation in _READS]
    others = [e for e in events if not e.refused and e.operation not in _READS]
    return read, refused, others


def _names(fields: Sequence[SeenField]) -> Lines:
    return (", ".join(_name(its.field) for its in fields),) if fields else ()


def _by(words: Mapping[str, str], reason: str) -> str:
    return words.get(reason, words[""])


def _name(named: Named) -> str:
    return _seen(str(named))


def _seen(text: str) -> str:
    """Return a text in which every character is seen, and none turns others round."""
    shown = _UNSEEN.sub("\ufffd", text)
    return "".join(
        " " if c in "\n\t\r" else "\ufffd" if unicodedata.category(c) == "Cc" else c for c in shown
    )
