"""What an officer reads of an entry that waits for them, before they approve it."""

from piivault.officers import BlockedService

from vault.cli import keys_destroy, service
from vault.service.bodies import destroy_body, unblock_body

STOLEN = BlockedService("orders", "stolen", b"1" * 32)
AGAIN = BlockedService("orders", "stolen again", b"2" * 32)
OTHER = BlockedService("support", "left", b"3" * 32)


def test_an_unblock_names_the_service_and_both_reasons() -> None:
    words = service.in_words(unblock_body(STOLEN.statement, "new"), [OTHER, STOLEN])
    assert words == "It lifts the block of orders (stolen). Reason: new"


def test_an_unblock_names_the_blocks_that_it_leaves() -> None:
    words = service.in_words(unblock_body(STOLEN.statement, "new"), [STOLEN, OTHER, AGAIN])
    assert words.endswith("it stays so (stolen again).")


def test_an_unblock_of_what_was_lifted_meanwhile_says_so() -> None:
    assert "lifted already" in service.in_words(unblock_body(STOLEN.statement, "new"), [OTHER])


def test_a_destruction_says_where_and_how_to_see_what_is_lost() -> None:
    words = keys_destroy.in_words(destroy_body("accounts", b"\xeb" * 32, "leaked", "1"))
    assert "accounts" in words
    assert "Reason: leaked" in words
    assert "eb" * 32 in words
    assert "`piivault keys destroy accounts --key KIND:VERSION`" in words
