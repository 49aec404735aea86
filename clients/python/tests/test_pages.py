"""Pages: all that a report says, in three languages, as HTML and PDF; nothing in it does harm."""

import io
import sys
from datetime import timedelta, timezone
from html.parser import HTMLParser

import pypdf
import pytest
from piivault import Report, errors, pages
from piivault.pages import _pdf
from piivault.pages._words import WORDS, Words

from .reports import FIELDS, LANGUAGES, REGISTERED, TITLES, message, quiet, report, stamp

BISHKEK = timezone(timedelta(hours=6))


class _Read(HTMLParser):
    """What a browser makes of a page: elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def _html(*reports: Report) -> _Read:
    return _Read(pages.html(reports, zone=BISHKEK))


def _pdf_text(*reports: Report) -> str:
    document = pypdf.PdfReader(io.BytesIO(pages.pdf(reports, zone=BISHKEK)))
    text = " ".join(page.extract_text() for page in document.pages)
    return " ".join(text.replace("\u200b", "").split())


FORMS = {"html": lambda *reports: _html(*reports).text, "pdf": _pdf_text}
both = pytest.mark.parametrize("form", FORMS)
in_each = pytest.mark.parametrize("language", LANGUAGES)


def _squeezed(text: str) -> str:
    """Return a text without spaces: lines of a PDF break where they like."""
    return "".join(text.split())


@both
@in_each
def test_it_says_all_that_the_report_says(form: str, language: str) -> None:
    text = _squeezed(FORMS[form](report(language)))
    words = WORDS[language]
    wanted = [
        words.title, *TITLES[language], *FIELDS[language], words.held, words.purposes,
        words.consents, words.read, words.refused, words.changes, words.unsaid, words.voluntary,
        words.used, bytes(range(16)).hex(),
        words.reasons["CONSENT_REQUIRED"], words.looked_up, words.actions["rotate"], words.clock,
        words.disclosed.format(name=TITLES[language][3]), words.zone.format(zone="UTC+06:00"),
        REGISTERED.astimezone(BISHKEK).strftime(f"{words.date} %H:%M:%S"),
        *words.limits.splitlines(),
    ]  # fmt: skip
    assert [said for said in wanted if _squeezed(said) not in text] == []


@both
def test_the_letters_of_kyrgyz_are_right(form: str) -> None:
    """Ө, Ү and Ң, small and large, as characters of their own and not as look-alikes."""
    text = FORMS[form](report("ky", text="ӨӨ ҮҮ ҢҢ өө үү ңң"))
    for letter in "ӨҮҢөүң":
        assert letter * 2 in text, letter


def test_the_pdf_has_a_glyph_for_each_letter() -> None:
    """Each in the font that it is set in, which the file brings along; none is the empty box."""
    document = pypdf.PdfReader(io.BytesIO(pages.pdf([report("ky", text="ӨҮҢ өүң")])))
    fonts = [
        font.get_object()
        for page in document.pages
        for font in page["/Resources"].get_object()["/Font"].values()  # type: ignore[index]
    ]
    names = {str(font["/BaseFont"]) for font in fonts}
    assert names
    assert all("Libertinus" in name for name in names), names
    for font in fonts:
        descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert "/FontFile3" in descriptor or "/FontFile2" in descriptor


@both
@in_each
def test_what_is_empty_is_said(form: str, language: str) -> None:
    text, words = _squeezed(FORMS[form](quiet(language))), WORDS[language]
    for said in (
        words.nothing_held, words.no_purposes, words.no_consents, words.nobody_read,
        words.nobody_refused, words.nothing_changed,
    ):  # fmt: skip
        assert _squeezed(said) in text


@both
@in_each
def test_what_the_trail_lacks_is_said_first(form: str, language: str) -> None:
    said, words = message(language), WORDS[language]
    said.processing.restricted = True
    said.processing.trail_begins.CopyFrom(stamp(REGISTERED))
    for reason, count in ((29, 3), (28, 2)):
        said.unread.add(reason=reason, count=count)
    text = _squeezed(FORMS[form](Report.of([said])))
    at = REGISTERED.astimezone(BISHKEK).strftime(f"{words.date} %H:%M:%S")
    held = text.index(_squeezed(words.held))
    for line in (words.restricted, words.trail_begins.format(at=at)):
        assert -1 < text.find(_squeezed(line)) < held
    assert text.index(_squeezed(words.unread.partition("{")[0])) < held


HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an image": '<img src=x onerror="alert(1)">',
    "the end of an attribute": '"><script>alert(1)</script>',
    "a quote": "' onmouseover='alert(1)",
    "an entity": "&lt;script&gt; &#60;script&#62;",
    "a comment": "--><script>x</script><!--",
    "the end of the style": "</style><script>x</script>",
    "code of typst": '#panic("x") #read("/etc/passwd") #sys.inputs $x$ *b* _i_ @ref <label> = h',
    "raw of typst": "```rust x``` `code` // comment /* comment */ \\u{41}",
    "a key of JSON": '", "title": "x"} ] }',
    "braces": "{at} {0} {name!r} %s %(x)s",
}


@both
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_is_text_and_nothing_else(form: str, text: str) -> None:
    """Whoever wrote it: an edition, or the file of a report that somebody sent."""
    assert _squeezed(text) in _squeezed(FORMS[form](report("en", text=text)))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_adds_nothing_to_a_page(text: str) -> None:
    """Not an element, not an attribute that a calm text hasn't; and the page runs no script."""
    calm, hostile = _html(report("en", text="calm")), _html(report("en", text=text))
    assert (hostile.elements, hostile.attributes) == (calm.elements, calm.attributes)
    assert not hostile.elements & {"script", "img", "iframe", "object", "link", "form", "a"}
    assert ("http-equiv", "Content-Security-Policy") in hostile.attributes
    assert any("default-src 'none'" in (value or "") for _, value in hostile.attributes)


@both
@pytest.mark.parametrize(
    "character",
    ["\u202e", "\u2066", "\u2069", "\u200f", "\u061c", "\x00", "\x1b", "\x07"],
    ids=ascii,
)
def test_a_character_that_turns_or_hides_others_is_shown_as_one(form: str, character: str) -> None:
    text = FORMS[form](report("en", text=f"a{character}b"))
    assert character not in text
    assert "a\ufffdb" in text


def test_what_is_written_from_right_to_left_stays_in_its_place() -> None:
    page = pages.html([report("en", text="שלום عربي")])
    assert "<bdi>שלום عربي</bdi>" in page


@in_each
def test_a_long_word_stays_on_the_paper(language: str) -> None:
    """Wherever it stands: no glyph is set beyond the edge."""
    document = pypdf.PdfReader(io.BytesIO(pages.pdf([report(language, text="Щ" * 400)])))
    width = float(document.pages[0].mediabox.width)
    places: list[float] = []

    def note(text: str, cm: list[float], tm: list[float], font: object, size: float) -> None:
        if text.strip():
            places.append(cm[4] + tm[4])

    for page in document.pages:
        page.extract_text(visitor_text=note)
    assert places
    assert max(places) < width - 40  # points; a run begins there and is a dozen letters long


def test_several_compartments_are_chapters_of_one_page() -> None:
    both_of_them = [report("ky"), report("ky", text="Экинчиси")]
    for text in (FORMS["html"](*both_of_them), FORMS["pdf"](*both_of_them)):
        assert text.index(TITLES["ky"][0].split()[0]) < text.index("Экинчиси")
        assert text.count(WORDS["ky"].title.split()[0]) >= 1


def test_the_pdf_says_what_it_is() -> None:
    """Its title and its language, and what is a heading or a table: for who hears it read out."""
    document = pypdf.PdfReader(io.BytesIO(pages.pdf([report("ky")])))
    assert document.metadata is not None
    assert document.metadata.title == WORDS["ky"].title
    root = document.root_object
    assert str(root["/Lang"]).startswith("ky")
    assert root["/MarkInfo"]["/Marked"]  # type: ignore[index]


def _in(language: str) -> Report:
    said = message("ky")
    said.processing.language = language
    return Report.of([said])


REFUSED = {
    "none": [],
    "in two languages": [report("ky"), report("ru")],
    "in a language without words": [_in("kk")],
}


@pytest.mark.parametrize("reports", REFUSED.values(), ids=REFUSED)
def test_what_is_no_page(reports: list[Report]) -> None:
    for write in (pages.html, pages.pdf):
        with pytest.raises(errors.InvalidRequest, match="ky, ru, en"):
            write(reports)


def test_without_typst_a_pdf_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(errors.ConfigurationError, match=r"pip install 'piivault\[report\]'"):
        pages.pdf([report()])
    assert pages.html([report()])


def test_every_language_has_every_word() -> None:
    """And braces for the same things; what is by reason or operation has the same keys."""
    english = WORDS["en"]
    for words in WORDS.values():
        for name in Words.__slots__:
            said, there = getattr(words, name), getattr(english, name)
            if isinstance(said, str):
                assert said
                assert _braces(said) == _braces(there), name
                assert said.count("\n") == there.count("\n"), name
            else:
                assert said.keys() == there.keys(), name


def _braces(text: str) -> set[str]:
    return {part.partition("}")[0] for part in text.split("{")[1:]}


def test_a_word_is_cut_only_where_it_is_long() -> None:
    assert _pdf.breakable("aigul.osmonova@oshto.kg") == "aigul.osmonova@oshto.kg"
    assert _pdf.breakable(["Ү" * 30])[0].replace("\u200b", "") == "Ү" * 30
