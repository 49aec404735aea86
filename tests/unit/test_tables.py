"""What tables show in a terminal of 80 columns: all of it, as it is."""

import pytest
from rich.console import Console

from vault.cli.tables import console, table


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setenv("COLUMNS", "80")
    return console()


def test_no_word_becomes_an_emoji_or_a_style(narrow: Console) -> None:
    shown = table("key", title=":phone: of [b]")
    shown.add_row("index:email:1")
    shown.add_row("a [bold]reason")
    with narrow.capture() as said:
        narrow.print(shown)
    for word in (":phone: of [b]", "index:email:1", "a [bold]reason"):
        assert word in said.get()


def test_what_is_too_wide_is_folded_and_never_cut(narrow: Console) -> None:
    shown = table("key", "why", "what", whole=("key",))
    words = "index:contact_person:1", "because " * 12, "7" * 100
    shown.add_row(*words)
    with narrow.capture() as said:
        narrow.print(shown)
    assert words[0] in said.get()
    assert said.get().count("because") == 12
    assert said.get().count("7") == 100
    assert max(map(len, said.get().splitlines())) <= 80
