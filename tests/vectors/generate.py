"""Write the vectors that aren't there yet; README.md says what they are for.

    python -m tests.vectors.generate [FOLDER]

Every byte follows from labels: each run makes the same files. One that exists is never
overwritten: it was published, and data sealed like it may be stored somewhere.
"""

import json
import sys
from pathlib import Path

from tests.vectors import (
    attestations,
    backups,
    capabilities,
    checkpoints,
    envelopes,
    export_capabilities,
    exports,
    index,
    records,
    requests,
    trail,
)
from tests.vectors.formats import Vector

FILES = {
    "envelope_v1.json": envelopes.vectors,
    "record_v1.json": records.vectors,
    "blind_index_v1.json": index.vectors,
    "pseudonym_capability_v1.json": capabilities.vectors,
    "audit_v1.json": trail.vectors,
    "backup_v1.json": backups.vectors,
    "checkpoint_v1.json": checkpoints.vectors,
    "attestation_v1.json": attestations.vectors,
    "request_v1.json": requests.vectors,
    "capability_v2.json": export_capabilities.vectors,
    "export_v1.json": exports.vectors,
}


def text(vectors: Vector) -> str:
    return json.dumps(vectors, ensure_ascii=False, indent=1) + "\n"


def generate(folder: Path) -> list[str]:
    """Write what is missing in a folder; return the names of the files left alone."""
    kept = []
    for name, vectors in FILES.items():
        try:
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text(vectors()))
        except FileExistsError:
            kept.append(name)
    return kept


if __name__ == "__main__":
    if kept := generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent):
        sys.exit(f"These exist and were left as they are: {', '.join(kept)}.")
