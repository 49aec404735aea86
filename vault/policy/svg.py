"""Drawing by hand: the few SVG elements that a picture of an edition needs, and its colours.

Nothing is fetched and nothing runs: no scripts, no fonts, no links. All text is escaped, and
whatever XML can't hold is left out. The colours follow the reader's light or dark setting.
"""

import unicodedata
from html import escape

PURPOSE_COLOURS = 8

STYLE = """
text, tspan { font-family: system-ui, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', sans-serif;
       font-size: 13px; fill: #1f2933 }
.page { fill: #f6f4ef }
.title { font-size: 24px; font-weight: 700 }
.name { font-size: 16px; font-weight: 700 }
.service { font-size: 14px; font-weight: 700 }
.small { font-size: 11px; fill: #66717d }
.voluntary { font-style: italic; fill: #66717d }
.room { fill: #ffffff; stroke: #39434e; stroke-width: 2 }
.card { fill: #ffffff; stroke: #8d98a4; stroke-width: 1.2 }
.owner { fill: #eae6dc }
.rule { stroke: #e6e2d8; stroke-width: 1; fill: none }
.brick { fill: #c0553b }
.mortar { stroke: #f6f4ef; stroke-width: 1.6; fill: none }
.cap { fill: #8f3a26 }
.never { stroke: #c0553b; stroke-width: 2.5; stroke-dasharray: 7 6; fill: none }
.cross { stroke: #c0553b; stroke-width: 4; stroke-linecap: round; fill: none }
.says { fill: #a8432b; font-weight: 600 }
.bridge { stroke: #1d8a4e; stroke-width: 6; stroke-linecap: round; fill: none }
.thin { stroke-width: 2.6 }
.gate { fill: #d8efdf }
.pier { fill: #1d8a4e }
.may { fill: #17723f; font-weight: 600 }
.lane { fill: none; stroke-width: 3; stroke-linejoin: round; stroke-linecap: round }
.ring { fill: #ffffff; stroke-width: 2.6 }
.dot { stroke: #ffffff; stroke-width: 1.6 }
.p0 { stroke: #2b6cdf } .f0 { fill: #2b6cdf }
.p1 { stroke: #d58a00 } .f1 { fill: #d58a00 }
.p2 { stroke: #8549cf } .f2 { fill: #8549cf }
.p3 { stroke: #0a95b5 } .f3 { fill: #0a95b5 }
.p4 { stroke: #cc3f93 } .f4 { fill: #cc3f93 }
.p5 { stroke: #64707d } .f5 { fill: #64707d }
.p6 { stroke: #8a6237 } .f6 { fill: #8a6237 }
.p7 { stroke: #7c8b15 } .f7 { fill: #7c8b15 }
@media (prefers-color-scheme: dark) {
text { fill: #e7eaee }
.page { fill: #15191e } .mortar { stroke: #15191e }
.small { fill: #9aa5b1 } .voluntary { fill: #9aa5b1 }
.room, .card, .ring { fill: #20262d } .dot { stroke: #20262d }
.room { stroke: #aab4bf } .card { stroke: #55606c }
.owner { fill: #2a313a } .rule { stroke: #313943 }
.brick { fill: #c9604a } .cap { fill: #e08a76 } .says { fill: #f0937e }
.bridge { stroke: #3fb977 } .pier { fill: #3fb977 } .gate { fill: #1d3b2b } .may { fill: #5fd093 }
}
"""


def escaped(text: str) -> str:
    """Return text as it may stand in XML, without what XML can't hold."""
    line = " ".join(text.split())
    kept = (char for char in line if unicodedata.category(char) not in ("Cc", "Cs", "Cn"))
    return escape("".join(kept))


def width(text: str, size: float = 13) -> float:
    """Estimate how wide a text is; on the wide side, since fonts differ."""
    return len(text) * size * 0.6


def text(
    x: float, y: float, content: str, style: str = "", anchor: str = "", beside: str = ""
) -> str:
    """Write a line, and a small remark beside it.

    `anchor` is "middle" or "end" where the line doesn't begin at x.
    """
    place = f' text-anchor="{anchor}"' if anchor else ""
    name = f' class="{style}"' if style else ""
    remark = f'<tspan class="small" dx="8">{escaped(beside)}</tspan>' if beside else ""
    return f'<text x="{x:g}" y="{y:g}"{name}{place}>{escaped(content)}{remark}</text>'


def box(x: float, y: float, wide: float, high: float, style: str, radius: float = 0) -> str:
    """Draw a rectangle."""
    round_ = f' rx="{radius:g}"' if radius else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}"{round_} class="{style}"/>'


def path(data: str, style: str) -> str:
    """Draw a line, or a shape."""
    return f'<path d="{data}" class="{style}"/>'


def told(what: str, *parts: str) -> str:
    """Group parts under what a reader sees when they point at them."""
    return "\n".join(("<g>", f"<title>{escaped(what)}</title>", *parts, "</g>"))


def plain(x: float, y: float, colour: int) -> str:
    """Mark a field that is seen in full."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="6.2" class="dot f{colour}"/>'


def masked(x: float, y: float, colour: int) -> str:
    """Mark a field of which a part is seen: half a disc."""
    half = f"M{x - 5.4:g} {y:g} A5.4 5.4 0 0 0 {x + 5.4:g} {y:g} Z"
    return f'{present(x, y, colour)}<path d="{half}" class="f{colour}"/>'


def present(x: float, y: float, colour: int) -> str:
    """Mark a field of which is seen only whether it is there: an empty ring."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="5" class="ring p{colour}"/>'


def wall(x: float, y: float, wide: float, high: float) -> str:
    """Build a wall of bricks."""
    course, parts = 12.0, [box(x, y, wide, high, "brick")]
    lines = [f"M{x:g} {y + course * i:g} h{wide:g}" for i in range(1, int(high / course) + 1)]
    for i in range(int(high / course) + 1):
        top, step = y + course * i, wide / 2
        middle = x + (step if i % 2 else step / 2)
        bottom = min(course, y + high - top)
        lines.append(f"M{middle:g} {top:g} v{bottom:g}")
        if not i % 2:
            lines.append(f"M{middle + step:g} {top:g} v{bottom:g}")
    parts.append(path(" ".join(lines), "mortar"))
    parts.append(box(x - 4, y - 6, wide + 8, 7, "cap", 2))
    return "\n".join(parts)


def picture(wide: float, high: float, name: str, what: str, parts: list[str]) -> str:
    """Put the parts into a whole."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" role="img">\n'
        f"<title>{escaped(name)}</title>\n<desc>{escaped(what)}</desc>\n"
        f"<style>{STYLE}</style>\n"
        f"{box(0, 0, wide, high, 'page')}\n{body}\n</svg>\n"
    )
