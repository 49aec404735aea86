"""The README's Python is what the SDK is: each block runs, here against answers written down."""

import os
import re
import subprocess
import sys
from pathlib import Path

from piivault import TLS
from piivault.v1 import record_service_pb2 as record_pb
from piivault.v1 import subject_service_pb2 as subject_pb
from piivault.v1 import types_pb2

from .house import PSEUDONYM, House, etag, issued, record

README = Path(__file__).parent.parent / "README.md"


def run(block: str, house: House, tls: TLS, *arguments: str) -> str:
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

    portal_block, orders_block = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert run(portal_block, house, portal) == f"{PSEUDONYM}\n"
    assert run(orders_block, house, portal, PSEUDONYM).splitlines() == [
        "Revealed(first_name, phone)",
        "Secret(…)",
        phone,
        phone,
    ]
