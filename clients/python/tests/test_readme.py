"""The README's Python is what the SDK is: each block runs, here against answers written down."""

import os
import re
import subprocess
import sys
from pathlib import Path

from piivault import TLS, new_root
from piivault.export_keys import ExportKeys
from piivault.v1 import record_service_pb2 as record_pb
from piivault.v1 import subject_service_pb2 as subject_pb
from piivault.v1 import types_pb2

from .house import PSEUDONYM, House, etag, issued, record

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def run(block: str, house: House, tls: TLS, *arguments: str, cwd: Path | None = None) -> str:
    environment = {
        "PIIVAULT_ADDRESS": house.address,
        "PIIVAULT_CA": str(tls.ca),
        "PIIVAULT_CERTIFICATE": str(tls.certificate),
        "PIIVAULT_PRIVATE_KEY": str(tls.private_key),
        "PIIVAULT_TIMEOUT": "20",
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", block, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_runs_as_written(house: House, portal: TLS) -> None:
    phone = "+996 555 123456"
    notice = types_pb2.Notice(purpose="services", consent_needed=True, text="…")
    house.answer("ListNotices", subject_pb.ListNoticesResponse(notices=[notice]))
    house.answer("Issue", issued())
    house.answer("Register", etag())
    house.answer("Reveal", record(first_name="Айгүл", phone=phone))
    item = record_pb.BatchRevealResult(record=record(phone=phone))
    house.answer("BatchReveal", record_pb.BatchRevealResponse(results=[item]))

    portal_block, orders_block, _ = BLOCKS
    assert run(portal_block, house, portal) == f"{PSEUDONYM}\n"
    assert run(orders_block, house, portal, PSEUDONYM).splitlines() == [
        "Revealed(first_name, phone)",
        "Secret(…)",
        phone,
        phone,
    ]


def test_the_export_runs_as_written(house: House, portal: TLS, tmp_path: Path) -> None:
    """As far as the portal goes; tests/integration opens what the real server seals."""
    keys = ExportKeys.new(["accounts"])
    (tmp_path / "mine.keys.public").write_text(keys.public_text())
    request = types_pb2.SubjectRequest(
        id=bytes(16),
        kind=types_pb2.REQUEST_KIND_EXPORT,
        state=types_pb2.REQUEST_STATE_OPEN,
        opened="2026-11-22",
        due="2026-11-29",
    )
    house.answer("Issue", issued())
    house.answer("Export", subject_pb.ExportResponse(package=b"sealed", request=request))
    root = new_root().expose()
    said = run(BLOCKS[2], house, portal, root, "mine.keys.public", cwd=tmp_path)
    assert said == "accounts is due by 2026-11-29\n"
    assert (tmp_path / "accounts.package").read_bytes() == b"sealed"
