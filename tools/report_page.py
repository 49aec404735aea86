"""Draw the first page of a report as docs/report.png, from the SDK's own example in Kyrgyz.

python tools/report_page.py
"""

import json
import sys
from dataclasses import asdict
from datetime import timedelta, timezone
from importlib.resources import files
from pathlib import Path

import typst
from piivault.pages import _pdf
from piivault.pages._page import page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.reporting import a_year  # noqa: E402 -- the path must be there first

OSH = timezone(timedelta(hours=6))


def main() -> None:
    """Write the picture."""
    said = json.dumps(_pdf.breakable(asdict(page([a_year("ky")], OSH))), ensure_ascii=False)
    source = files("piivault.pages").joinpath("report.typ").read_bytes()
    drawn = typst.compile(source, format="png", ppi=75, sys_inputs={"page": said})
    first = drawn[0] if isinstance(drawn, list) else drawn
    (ROOT / "docs/report.png").write_bytes(first)


if __name__ == "__main__":
    main()
