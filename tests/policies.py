"""Editions for tests: the example's, changed, each following from the one before."""

from vault.policy import compile_edition


def successor(text: str, *changes: tuple[str, str]) -> str:
    """Write the next edition: number and predecessor follow; each change replaces a text, once."""
    edition = compile_edition(text)
    before = edition.predecessor.hex() if edition.predecessor else "null"
    for old, new in (
        (f"edition: {edition.number}\n", f"edition: {edition.number + 1}\n"),
        (f"predecessor: {before}", f"predecessor: {edition.digest.hex()}"),
        *changes,
    ):
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return text
