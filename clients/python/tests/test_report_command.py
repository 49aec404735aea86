"""`piivault-subject report`: a report as data becomes a page, on the subject's own machine."""

import io
from pathlib import Path

import pypdf
import pytest
from piivault._subject_command import main

from .reports import TITLES, report


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "accounts.json"
    file.write_text(report("ky").to_json(), encoding="utf-8")
    return file


def test_it_writes_a_page_to_read(data: Path, tmp_path: Path) -> None:
    """For its owner alone, by the clocks that are asked for."""
    page = tmp_path / "report.html"
    main(["report", "--zone", "Asia/Bishkek", "-o", str(page), str(data), str(data)])
    text = page.read_text(encoding="utf-8")
    assert text.count(TITLES["ky"][0]) == 2
    assert "UTC+06:00" in text
    assert page.stat().st_mode & 0o077 == 0


def test_it_writes_a_page_to_print(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.pdf"
    main(["report", "-o", str(page), str(data)])
    text = pypdf.PdfReader(io.BytesIO(page.read_bytes())).pages[0].extract_text()
    assert TITLES["ky"][0] in text


REFUSED = {
    "another kind of file": (["-o", "report.doc", "accounts.json"], r"\.html or a \.pdf"),
    "a zone that there isn't": (
        ["--zone", "Asia/Osh", "-o", "report.pdf", "accounts.json"], "no zone 'Asia/Osh'"),
    "a zone that is a path": (
        ["--zone", "../../etc/passwd", "-o", "report.pdf", "accounts.json"], "no zone"),
    "what is no report": (["-o", "report.pdf", "other.json"], "That is no report"),
    "what isn't there": (["-o", "report.pdf", "none.json"], "No such file"),
    "a file that is there": (["-o", "accounts.html", "accounts.json"], "File exists"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), REFUSED.values(), ids=REFUSED)
def test_it_says_what_is_wrong(
    data: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(data.parent)
    Path("other.json").write_text("{}")
    Path("accounts.html").write_text("older")
    with pytest.raises(SystemExit, match=f"^piivault-subject: .*{says}"):
        main(["report", *arguments])
    assert not Path("report.pdf").exists()
    assert Path("accounts.html").read_text() == "older"
