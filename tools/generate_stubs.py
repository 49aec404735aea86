"""Generate the stubs from protos/: the API's into the SDK, the sealed formats' into the server.

python tools/generate_stubs.py            # write them (make proto)
python tools/generate_stubs.py --check    # fail if what is checked in differs (make lint)
"""

import filecmp
import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
# proto package -> where its Python package lives
HOMES = {"piivault/v1": ROOT / "clients/python/src", "vault/sealed/v1": ROOT}


def generate(package: str, out: Path) -> None:
    """Run protoc for one proto package; raise if it fails."""
    sources = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / package).glob("*.proto"))
    services = [s for s in sources if s.endswith("_service.proto")]
    base = ["protoc", f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}"]
    runs = [[*base, f"--python_out={out}", f"--mypy_out={out}", *sources]]
    if services:
        runs.append([*base, f"--grpc_python_out={out}", f"--mypy_grpc_out={out}", *services])
    for run in runs:
        if protoc.main(run) != 0:
            raise SystemExit(f"protoc failed for {package}")


def main() -> None:
    """Write the stubs, or compare them with what is checked in."""
    # protoc finds its plugins on the path: those beside this interpreter
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    check = "--check" in sys.argv[1:]
    stale: list[str] = []
    for package, home in HOMES.items():
        with tempfile.TemporaryDirectory() as scratch:
            generate(package, Path(scratch))
            fresh = Path(scratch, package)
            kept = home / package
            names = {p.name for p in fresh.iterdir()}
            old = {p.name for p in kept.glob("*_pb2*")} if kept.exists() else set()
            if check:
                _, differ, missing = filecmp.cmpfiles(fresh, kept, sorted(names), shallow=False)
                stale += [f"{package}/{n}" for n in [*differ, *missing, *sorted(old - names)]]
                continue
            kept.mkdir(parents=True, exist_ok=True)
            init = f'"""Generated from protos/{package}: `make proto`."""\n'
            (kept / "__init__.py").write_text(init)
            for name in old - names:
                (kept / name).unlink()
            for file in fresh.iterdir():
                (kept / file.name).write_bytes(file.read_bytes())
    if stale:
        sys.exit(f"stubs differ from protos/: {', '.join(stale)}. Run `make proto` and commit.")


if __name__ == "__main__":
    main()
