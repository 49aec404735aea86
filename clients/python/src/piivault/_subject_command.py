"""`piivault-subject`: keys for an export, and what came of it, on the subject's own machine.

    piivault-subject new mine.keys accounts orders      # mine.keys stays, mine.keys.public goes out
    piivault-subject open --keys mine.keys -o mine.json accounts.package orders.package
    piivault-subject report -o mine.pdf accounts.json orders.json    # what Report.to_json() wrote

It asks nobody: what is put together here is on this machine alone.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from piivault import pages
from piivault._exports_shown import shown
from piivault._report import Report
from piivault._settings import signing_keys_in
from piivault.errors import AttestationError, ConfigurationError, PiivaultError
from piivault.export_keys import DEFAULT_SUITE, SUITES, ExportKeys, Suite
from piivault.exports import Export, merge, merged_text, open_package, read_signing_keys


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 1 and a sentence where something isn't right."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "new":
            _new(asked.keys, asked.compartments, asked.suite)
        elif asked.command == "report":
            _report(asked.reports, asked.output, asked.zone)
        else:
            _open(asked.packages, asked.keys, asked.signing_keys, asked.output, asked.language)
    except PiivaultError as e:
        _fail(e.message)
    except OSError as e:
        _fail(f"{e.filename}: {e.strerror}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("piivault-subject", description="Exports, on your side.")
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make the keys for one export")
    new.add_argument("keys", type=Path, help="the file to be written, for yourself alone")
    new.add_argument("compartments", nargs="+", metavar="COMPARTMENT")
    new.add_argument("--suite", choices=SUITES, default=DEFAULT_SUITE)
    opening = commands.add_parser("open", help="open, verify and merge what came")
    opening.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE")
    opening.add_argument("--keys", type=Path, required=True, help="what `new` wrote")
    opening.add_argument(
        "--signing-keys",
        type=Path,
        help="the compartments' public keys as the operator publishes them, a JSON object of lists "
        "by compartment; without it, PIIVAULT_COMPARTMENT_<NAME>_SIGNING_KEYS",
    )
    opening.add_argument("-o", "--output", type=Path, help="a JSON file for all of it")
    opening.add_argument("--language", default="en", help="of the table; en by default")
    report = commands.add_parser("report", help="write reports as a page to read or to print")
    report.add_argument("reports", nargs="+", type=Path, metavar="REPORT", help="in JSON")
    report.add_argument("-o", "--output", type=Path, required=True, help="a .html or .pdf file")
    report.add_argument("--zone", default="UTC", help="whose clocks it goes by: Asia/Bishkek")
    return parser


def _report(files: Sequence[Path], output: Path, zone: str) -> None:
    try:
        clocks = ZoneInfo(zone)
    except (ValueError, ZoneInfoNotFoundError):
        raise ConfigurationError(f"This machine knows no zone {zone!r}.") from None
    reports = [Report.from_json(_text(file)) for file in files]
    if output.suffix == ".pdf":
        _write(output, pages.pdf(reports, zone=clocks))
    elif output.suffix == ".html":
        _write(output, pages.html(reports, zone=clocks))
    else:
        raise ConfigurationError("The output is a .html or a .pdf file.")


def _new(file: Path, compartments: Sequence[str], suite: Suite) -> None:
    keys = ExportKeys.new(compartments, suite)
    public = file.with_name(f"{file.name}.public")
    _write(file, keys.expose())
    _write(public, keys.public_text())
    print(f"{file}: keep it, and show it to nobody. It opens what comes.")
    print(f"{public}: for whoever asks for the export. The thumbprints in it:")
    for name, key in sorted(keys.public.items()):
        print(f"  {name}  {key.thumbprint}")


def _open(
    packages: Sequence[Path],
    keys_file: Path,
    signing_file: Path | None,
    output: Path | None,
    language: str,
) -> None:
    keys = ExportKeys.read(_text(keys_file))
    signing = _signing_keys(signing_file, keys)
    exports = [_opened(package, keys, signing) for package in packages]
    merged = merge(exports)
    if output:
        _write(output, merged_text(merged))
    print(shown(exports, language))
    if output:
        print(f"\n{output}: all of it, in JSON.")
    if missing := sorted(keys.keys() - {export.compartment for export in exports}):
        print(f"\nNot among these, though there are keys for it: {', '.join(missing)}.")


def _opened(package: Path, keys: ExportKeys, signing: Mapping[str, Sequence[str]]) -> Export:
    try:
        return open_package(package.read_bytes(), keys, signing)
    except AttestationError as e:
        _fail(
            f"{package}: {e.message} Don't believe it. Get the compartments' public keys from the "
            "operator itself and try again; if it is refused still, tell the operator who gave it "
            "to you."
        )
    except PiivaultError as e:
        _fail(f"{package}: {e.message}")


def _signing_keys(file: Path | None, keys: ExportKeys) -> Mapping[str, Sequence[str]]:
    if file:
        return read_signing_keys(_text(file))
    found = signing_keys_in(os.environ, keys)
    if not found:
        raise ConfigurationError(
            "Whose word is to be believed? Give --signing-keys, the compartments' public keys as "
            "their operator publishes them."
        )
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} isn't text.") from None


def _write(file: Path, content: str | bytes) -> None:
    """Write a new file that its owner alone reads; what is there stays."""
    raw = content.encode() if isinstance(content, str) else content
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(raw)


def _fail(sentence: str) -> NoReturn:
    sys.exit(f"piivault-subject: {sentence}")
