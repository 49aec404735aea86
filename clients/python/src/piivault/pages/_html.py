"""A page as HTML: one file, no script, nothing from elsewhere. All that it says is escaped."""

from collections.abc import Iterator
from html import escape

from piivault.pages._page import Card, Cell, Chapter, Page, Section, Table

# The browser is told so, too: should a text ever get through as markup, it still runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """\
:root { --ink: #1d2733; --soft: #5b6673; --line: #d9dee4; --ground: #f6f7f5; --mark: #1f5f5b; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 17px/1.5 "Libertinus Serif", "PT Serif", "Noto Serif", Cambria, Georgia, serif; }
main { max-width: 54rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; font-weight: 600; margin: 0 0 .5rem; }
h2 { font-size: 1.45rem; font-weight: 600; margin: 2.5rem 0 .25rem; color: var(--mark); }
h3 { font-size: 1.15rem; font-weight: 600; margin: 2rem 0 .5rem; }
h4 { font-size: 1rem; font-weight: 600; margin: 0; }
p { margin: .25rem 0; }
.soft, small { color: var(--soft); }
small { display: block; font-size: .85rem; line-height: 1.35; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 1rem; padding: 0; }
.facts div { background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: .7rem .9rem; display: flex; flex-direction: column; justify-content: space-between; }
.facts dt { color: var(--soft); font-size: .85rem; line-height: 1.3; }
.facts dd { margin: .15rem 0 0; font-size: 1.7rem; line-height: 1.2; }
table { width: 100%; border-collapse: collapse; background: #fff; border: 1px solid var(--line); }
th, td { text-align: start; vertical-align: top; padding: .5rem .75rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-size: .85rem; font-weight: 600; color: var(--soft); }
tr:last-child td { border-bottom: 0; }
.empty { background: #fff; border: 1px solid var(--line); padding: .75rem; color: var(--soft); }
.card { background: #fff; border: 1px solid var(--line); border-inline-start: 4px solid var(--line);
  padding: .9rem 1.1rem; margin: .75rem 0; overflow-wrap: anywhere; }
.card.open { border-inline-start-color: var(--mark); }
.card header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; justify-content: space-between; }
.card .state { color: var(--soft); font-size: .9rem; }
.card.open .state { color: var(--mark); }
.card dl { display: grid; grid-template-columns: minmax(9rem, 14rem) 1fr; gap: .25rem 1rem;
  margin: .6rem 0 0; }
.card dt { color: var(--soft); font-size: .9rem; }
.card dd { margin: 0; }
ul { margin: .25rem 0; padding-inline-start: 1.25rem; color: var(--soft); }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) {
  .card dl { grid-template-columns: 1fr; }
  table, tbody, tr, td { display: block; }
  thead { position: absolute; clip-path: inset(50%); }
  td { border: 0; padding: .15rem .75rem; }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
}
@media print {
  body { background: #fff; font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h3, header { break-after: avoid; }
  tr, .card, .facts { break-inside: avoid; }
  section.chapter + section.chapter { break-before: page; }
}
"""


def write(page: Page) -> str:
    """Write a page as one HTML document."""
    return "\n".join(_document(page)) + "\n"


def _document(page: Page) -> Iterator[str]:
    title = escape(page.title)
    yield "<!doctype html>"
    yield f'<html lang="{escape(page.language)}">'
    yield '<head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{title}</title>"
    yield f"<style>\n{_STYLE}</style></head>"
    yield f"<body><main><h1>{title}</h1>"
    for chapter in page.chapters:
        yield from _chapter(chapter)
    yield f"<footer>{_text(page.zone)}</footer></main></body></html>"


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield '<section class="chapter">'
    yield f"<h2>{_text(chapter.title)}</h2>"
    for line in chapter.under:
        yield f'<p class="soft">{_text(line)}</p>'
    yield '<dl class="facts">'
    for fact in chapter.facts:
        yield f"<div><dt>{_text(fact.label)}</dt><dd>{fact.number}</dd></div>"
    yield "</dl>"
    for note in chapter.notes:
        yield f"<p>{_text(note)}</p>"
    for section in chapter.sections:
        yield from _section(section)
    yield "</section>"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h3>{_text(section.title)}</h3>"
    if section.intro:
        yield f'<p class="soft">{_text(section.intro)}</p>'
    for card in section.cards:
        yield from _card(card)
    if section.table:
        yield from _table(section.table)
    if section.items:
        yield "<ul>"
        yield from (f"<li>{_text(item)}</li>" for item in section.items)
        yield "</ul>"
    yield "</section>"


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        yield f'<p class="empty">{_text(table.empty)}</p>'
        return
    headings = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in table.headings)
    shares = (
        f'<col style="width: {100 * width / sum(table.widths):.1f}%">' for width in table.widths
    )
    yield f"<table><colgroup>{''.join(shares)}</colgroup>"
    yield f"<thead><tr>{headings}</tr></thead><tbody>"
    for row in table.rows:
        yield f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>"
    yield "</tbody></table>"


def _card(card: Card) -> Iterator[str]:
    yield f'<article class="card{" open" if card.is_open else ""}">'
    state = f'<span class="state">{_text(card.state)}</span>'
    yield f"<header><h4>{_text(card.title)}</h4>{state}</header>"
    yield f'<p class="soft">{_text(card.text)}</p><dl>'
    for label, lines in card.terms:
        said = "<br>".join(_text(line) for line in lines)
        yield f"<dt>{_text(label)}</dt><dd>{said}</dd>"
    yield "</dl></article>"


def _cell(cell: Cell) -> str:
    said = "<br>".join(_text(line) for line in cell.lines)
    return said + "".join(f"<small>{_text(line)}</small>" for line in cell.beside)


def _text(text: str) -> str:
    """Escape a text; in a direction of its own, so that it turns nothing round it."""
    return f"<bdi>{escape(text)}</bdi>"
