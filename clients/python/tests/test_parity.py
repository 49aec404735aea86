"""The two clients are one: same classes, methods, signatures and words, `await` apart."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from piivault import aio, aio_compartment, aio_subject, client, compartment, subject

PAIRS = [
    (client.Client, aio.AsyncClient),
    (subject.Subject, aio_subject.AsyncSubject),
    (compartment.CompartmentClient, aio_compartment.AsyncCompartmentClient),
]
WAITS_FOR_NOTHING = {"from_env", "subject", "compartment", "__init__", "__repr__"}


def methods(of: type[Any]) -> dict[str, Any]:
    """All methods that a caller may use, by the name that they have in the sync client."""
    return {
        name.replace("__a", "__") if name in ("__aenter__", "__aexit__") else name: method
        for name, method in vars(of).items()
        if callable(getattr(of, name)) and (not name.startswith("_") or name.startswith("__"))
    }


def signature(of: Any) -> str:
    """The signature as text, without what must differ."""
    text = str(inspect.signature(inspect.unwrap(getattr(of, "__func__", of))))
    text = text.replace("Async", "")
    for module in ("compartment", "subject"):
        text = text.replace(f"aio_{module}", module)
    return text.replace("collections.abc.Awaitable[str]", "str")


@pytest.mark.parametrize(("sync", "async_"), PAIRS, ids=lambda pair: pair.__name__)
def test_both_clients_have_the_same_methods(sync: type[Any], async_: type[Any]) -> None:
    assert methods(sync).keys() == methods(async_).keys()


@pytest.mark.parametrize(("sync", "async_"), PAIRS, ids=lambda pair: pair.__name__)
def test_both_clients_have_the_same_signatures_and_words(
    sync: type[Any], async_: type[Any]
) -> None:
    for name, method in methods(sync).items():
        twin = methods(async_)[name]
        assert signature(method) == signature(twin), name
        assert method.__doc__ == twin.__doc__, name


@pytest.mark.parametrize(("sync", "async_"), PAIRS, ids=lambda pair: pair.__name__)
def test_what_sends_is_awaited(sync: type[Any], async_: type[Any]) -> None:
    for name, method in methods(async_).items():
        awaited = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        assert awaited != (name in WAITS_FOR_NOTHING), name
        assert not inspect.iscoroutinefunction(methods(sync)[name])


@pytest.mark.parametrize("name", ["reveal_many", "stream_reveal", "bulk_put", "list_records"])
def test_both_clients_iterate_lazily(name: str) -> None:
    sync = inspect.signature(methods(compartment.CompartmentClient)[name]).return_annotation
    twin = methods(aio_compartment.AsyncCompartmentClient)[name]
    async_ = inspect.signature(twin).return_annotation
    assert sync.__origin__ is Iterator
    assert async_.__origin__ is AsyncIterator
