"""Pages that a person can read, of what is done with their data: HTML and PDF, in ky, ru and en.

    report = person.report("accounts", "ky")
    Path("report.html").write_text(pages.html([report]), encoding="utf-8")
    Path("report.pdf").write_bytes(pages.pdf([report]))        # pip install 'piivault[report]'

Several compartments are several reports, one after another, in one language. Whoever puts them
together has joined them: that is for the subject's side. A page holds no value of theirs.
"""

from collections.abc import Sequence
from datetime import UTC, tzinfo

from piivault._report import Report
from piivault.pages import _html, _pdf
from piivault.pages._page import page

__all__ = ["html", "pdf"]


def html(reports: Sequence[Report], *, zone: tzinfo = UTC) -> str:
    """Write reports as one HTML document, with times by the clocks of a zone.

    Raises InvalidRequest for none, for several languages, or one that there are no words for.
    """
    return _html.write(page(reports, zone))


def pdf(reports: Sequence[Report], *, zone: tzinfo = UTC) -> bytes:
    """Write reports as one PDF document; raises as `html`, and ConfigurationError without typst."""
    return _pdf.write(page(reports, zone))
