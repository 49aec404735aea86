"""Editions changed as trees: what the text of one would have to say for it."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import yaml

from tests.attack.actors import PURPOSE, Actors, spiffe_of
from vault.policy import compile_successor

TreeChange = Callable[[Any], object]
PEOPLE = {"ky": "x", "ru": "x", "en": "x"}  # a text for people


def changed(actors: Actors, *changes: TreeChange) -> str:
    """Write an edition that follows the newest, changed as a tree: JSON is YAML."""
    tree = yaml.safe_load(actors.newest())
    newest = actors.chain.ledger().newest
    assert newest is not None
    tree.update(edition=newest.number + 1, predecessor=newest.digest.hex())
    for change in changes:
        change(tree)
    return json.dumps(tree, default=lambda moment: moment.isoformat(), ensure_ascii=False)


def put(path: str, value: Any) -> TreeChange:
    """Set what stands at a path, such as services/kiosk/owner."""

    def change(tree: Any) -> None:
        *way, last = path.split("/")
        for key in way:
            tree = tree[key]
        tree[last] = value

    return change


def drop(path: str) -> TreeChange:
    """Take out what stands at a path."""

    def change(tree: Any) -> None:
        *way, last = path.split("/")
        for key in way:
            tree = tree[key]
        del tree[last]

    return change


def granted(name: str, compartment: str, *operations: str, purpose: str = "") -> TreeChange:
    """Grant something more."""
    given = {
        "service": name, "purpose": purpose or PURPOSE[compartment], "compartment": compartment,
        "operations": list(operations or ("reveal",)),
    }  # fmt: skip
    return lambda tree: tree["grants"].append(given)


def ungranted(name: str) -> TreeChange:
    """Take all grants of a service away."""

    def change(tree: Any) -> None:
        tree["grants"] = [its for its in tree["grants"] if its["service"] != name]

    return change


def serves(name: str, of: str, **more: Any) -> TreeChange:
    """Declare a service."""
    return put(f"services/{name}", {"owner": of, "spiffe": spiffe_of(name), **more})


def owns(name: str, ident: str = "") -> TreeChange:
    """Declare an owner."""
    title = {"ky": name, "ru": name, "en": name}
    return put(f"owners/{name}", {"id": ident or str(uuid4()), "title": title})


def compartment_is(name: str, now: str) -> TreeChange:
    """Rename a compartment, everywhere."""

    def change(tree: Any) -> None:
        tree["compartments"][now] = tree["compartments"].pop(name)
        for purpose in tree["purposes"].values():
            if name in purpose["uses"]:
                purpose["uses"][now] = purpose["uses"].pop(name)
        for its in tree["grants"]:
            its["compartment"] = now if its["compartment"] == name else its["compartment"]
        for its in tree["joinable"]:
            its["between"] = [now if c == name else c for c in its["between"]]

    return change


def swapped(one: str, other: str) -> TreeChange:
    """Give two compartments each other's uuid."""

    def change(tree: Any) -> None:
        first, second = tree["compartments"][one], tree["compartments"][other]
        first["uuid"], second["uuid"] = second["uuid"], first["uuid"]

    return change


def copied(name: str, new: str, ident: str = "") -> TreeChange:
    """Declare a compartment like another, under another name."""

    def change(tree: Any) -> None:
        like = dict(tree["compartments"][name])
        like["uuid"] = ident or like["uuid"]
        tree["compartments"][new] = like

    return change


def new_web(tree: Any) -> None:
    """Give the compartment web another uuid: the data stays, its history doesn't know it."""
    tree["compartments"]["web"]["uuid"] = str(uuid4())


def id_of(name: str) -> TreeChange:
    """Spell an owner's id in capitals: the same id, another text."""

    def change(tree: Any) -> None:
        tree["owners"][name]["id"] = tree["owners"][name]["id"].upper()

    return change


def taken(actors: Actors, *changes: TreeChange) -> bool:
    """Hold an edition against the rules and the past, as control would."""
    ledger = actors.chain.ledger()
    return bool(compile_successor(changed(actors, *changes), ledger.editions, ledger.touched))
