"""Exports in tests: keys as a subject makes them, and packages as they open them."""

from collections.abc import Mapping, Sequence

from piivault import Subject
from piivault.export_keys import DEFAULT_SUITE, ExportKeys, Suite
from piivault.exports import Export, open_package

from tests.house import House


def signing_keys(house: House) -> Mapping[str, Sequence[str]]:
    """Return the public keys of all compartments, as their operator publishes them."""
    return {name: its.signing_keys for name, its in house.settings.compartments.items()}


def exported(
    house: House,
    subject: Subject,
    compartment: str = "accounts",
    suite: Suite = DEFAULT_SUITE,
) -> Export:
    """Have a subject's record exported to new keys, and open what comes."""
    keys = ExportKeys.new([compartment], suite)
    return opened(house, subject.export(compartment, keys.public[compartment]).package, keys)


def opened(house: House, package: bytes, keys: ExportKeys) -> Export:
    """Open a package and verify it."""
    return open_package(package, keys, signing_keys(house))
