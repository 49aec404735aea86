"""Officers rotate keys and close epochs, while others read and write through workers."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import piivault
import pytest
from click.testing import CliRunner
from piivault.keys import Keys, KeyStatus, KeyVersion
from piivault.v1 import pseudonym_service_pb2
from piivault.v1 import subject_service_pb2 as subjects

from tests import wire
from tests.house import House
from tests.people import Registered
from tests.rotated import CLOSE, Run, ended
from tests.wire import PATIENCE
from tests.workers import BOUND, Worker, worker_process
from vault.cli.verify import verify
from vault.crypto.capability import key_id
from vault.keys.errors import KeyServerForbidden
from vault.keys.login import Token
from vault.keys.transit import Transit
from vault.names import from_base64url, to_base64url


@pytest.fixture(scope="module")
def house(rotated_house: House) -> House:
    return rotated_house


class Traffic:
    """Readers, finders and writers at several workers; all that went wrong is collected."""

    def __init__(self, house: House, workers: list[Worker]) -> None:
        self._stop = threading.Event()
        self.faults: list[BaseException] = []
        self.calls = 0
        self._stack = ExitStack()
        clients = [
            {
                name: self._stack.enter_context(w.client(name))
                for name in ("orders", "support", "portal")
            }
            for w in workers
        ]
        self.people = [house.register() for _ in range(8)]
        self.cities: dict[int, str] = {}
        self._jobs: list[Callable[[], None]] = []
        for number, client in enumerate(clients):
            self._jobs += [partial(self._read, client["orders"])] * 2
            self._jobs += [partial(self._find, client["support"])]
            self._jobs += [partial(self._write, client["portal"], number)]
            self._jobs += [partial(self._register, house, client["portal"])]

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._stack, ThreadPoolExecutor(len(self._jobs)) as pool:
            for job in self._jobs:
                pool.submit(self._again, job)
            try:
                yield
            finally:
                self._stop.set()

    def _again(self, job: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                job()
                self.calls += 1
            except BaseException as e:
                self.faults.append(e)

    def _read(self, client: piivault.Client) -> None:
        person = random.choice(self.people)
        accounts = client.compartment("accounts", purpose="services")
        found = accounts.reveal(person.pseudonym, ["phone"])["phone"].expose()
        assert found == person.values["phone"]

    def _find(self, client: piivault.Client) -> None:
        person = random.choice(self.people)
        support = client.compartment("accounts", purpose="account")
        assert support.find(email=person.values["email"]) == person.pseudonym
        time.sleep(0.3)  # it is rate-limited

    def _write(self, client: piivault.Client, number: int) -> None:
        mine = client.subject(self.people[number].root)
        city = f"Ош {random.random()}"
        mine.put("accounts", {"city": city})
        self.cities[number] = city
        found = mine.view("accounts")["city"]
        assert found is not None
        assert found.expose() == city

    def _register(self, house: House, client: piivault.Client) -> None:
        newcomer = house.register()
        seen = client.subject(newcomer.root).view("accounts")["email"]
        assert seen is not None
        assert seen.expose() == newcomer.values["email"]
        self.people.append(newcomer)
        time.sleep(0.1)


ROTATIONS = (
    ("rotate", "accounts", "kek", "--yes"),
    ("rotate", "accounts", "index", "email", "--yes"),
    ("rotate", "accounts", "data-key", "--yes"),
    ("rotate", "accounts", "audit", "--yes"),
    ("rotate", "accounts", "transit", "--trim", "--yes"),
    (*CLOSE, "--drop-superseded"),
)


def test_no_call_fails_while_every_level_rotates_and_an_epoch_closes(
    house: House, ring: Keys, piivault_keys: Run
) -> None:
    """Three processes, one of them stopped for longer than it polls, again and again."""
    house.register()  # so that there are index keys
    old = _newest(ring)
    with worker_process(house) as one, worker_process(house) as paused:
        traffic = Traffic(house, [one, paused])
        with traffic.running(), ThreadPoolExecutor(1) as pool:
            for arguments in ROTATIONS:
                paused.signal(SIGSTOP)
                rotated = pool.submit(piivault_keys, *arguments)
                time.sleep(1.2 * BOUND)  # it polls five times as often
                paused.signal(SIGCONT)
                assert rotated.result().exit_code == 0, rotated.result().output
            time.sleep(0.5)
        assert not traffic.faults, traffic.faults[:3]
        assert traffic.calls > 100
        for person in traffic.people:
            assert paused.phone_of(person) == person.values["phone"]
        for number, city in traffic.cities.items():
            found = traffic.people[number].subject.view("accounts")["city"]
            assert found is not None
            assert found.expose() == city
    assert not house.trail("accounts").breaks
    argv = ["--config", str(house.running.config), "--compartment", "accounts"]
    whole = CliRunner().invoke(verify, argv)
    assert whole.exit_code == 0, whole.output
    new = _newest(ring)
    assert {name: version - old[name] for name, version in new.items()} == {
        "kek": 2,  # by its own rotation, and by closing the epoch
        "index:email": 1,
        "index:phone": 0,
        "audit": 1,
        "lookup": 0,
    }
    for key in ring.status().keys:
        name, kind = _name(key), key.name.kind
        gone = key.name.version < new[name] and kind != "audit"
        retired = "decrypt-only" if key.name.version < new[name] else "active"
        assert key.state == ("destroyed" if gone else retired)


def _name(key: KeyStatus) -> str:
    return ":".join(filter(None, (key.name.kind, key.name.field)))


def _newest(ring: Keys) -> dict[str, int]:
    """Return the newest version of each key."""
    found = sorted(ring.status().keys, key=lambda key: key.name.version)
    return {_name(key): key.name.version for key in found}


def test_whoever_leaves_a_rotation_comes_back_to_it(
    house: House, ring: Keys, somebody: Registered, piivault_keys: Run
) -> None:
    """It waits while its old key is suspended, and says so."""
    old = max(k.name.version for k in ring.status().keys if k.name.kind == "kek")
    ring.suspend(KeyVersion("kek", old))
    left = piivault_keys("rotate", "accounts", "kek", "--leave")
    assert "running" in left.output
    ends = time.monotonic() + PATIENCE
    while not (rotation := ring.rotations()[0]).error:
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert "suspended" in rotation.error
    ring.resume(KeyVersion("kek", old))
    back = piivault_keys("rotate", "accounts", "kek")
    assert back.exit_code == 0, back.output
    assert "Rotate?" not in back.output
    assert f"to version {old + 1}: done" in back.output
    listed = json.loads(piivault_keys("rotations", "accounts", "--json").output)
    assert [r["id"] for r in listed if r["level"] == "kek"].count(rotation.id.hex()) == 1
    assert "kek" in piivault_keys("rotations", "accounts").output
    assert house.phone_of(somebody) == somebody.values["phone"]


MISTAKES = {
    "an index of nothing": ("rotate", "accounts", "index"),
    "a field of no index": ("rotate", "accounts", "kek", "email"),
    "no level": ("rotate", "accounts"),
    "a field without one": ("rotate", "accounts", "index", "city", "--yes"),
    "a key that writes": ("destroy", "accounts", "--key", "lookup:1", "--reason", "x", "--yes"),
    "no such version": ("destroy", "accounts", "--key", "kek:99", "--reason", "x", "--yes"),
    "nobody who writes the backup": ("close-epoch", "accounts", "--yes"),
    "a backup and none": ("close-epoch", "accounts", "--backup", "x", "--no-backup"),
    "no key": ("destroy", "accounts", "--key", "kek", "--reason", "x", "--yes"),
}


@pytest.mark.parametrize("arguments", MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_done_is_refused(piivault_keys: Run, arguments: tuple[str, ...]) -> None:
    assert piivault_keys(*arguments).exit_code != 0


def test_where_no_kek_writes_any_more_rotating_mends_it(house: House, ring: Keys) -> None:
    """As readiness says: the newest was destroyed, and what is left reads alone."""
    house.sql(
        "accounts",
        "UPDATE keyring SET state = 'decrypt-only' WHERE kind = 'kek' AND state = 'active'",
    )
    ring.evict()
    with pytest.raises((piivault.errors.Damaged, piivault.errors.KeyDestroyed)):
        house.register()
    rotation = ring.rotate("kek")
    assert house.register()
    assert ended(ring, rotation).state == "done"


def test_an_officer_rotates_keys_and_can_use_none(house: House) -> None:
    """Nor touch the key that pseudonyms are made with."""
    environment = house.environment("officer-aida")
    token = Path(environment["PIIVAULT_TOKEN_FILE"]).read_text(encoding="ascii")
    officer = Transit(house.running.key_server, house.running.key_server_ca, Token(token))
    key = "transit/keys/piivault-accounts"
    forbidden: list[Callable[[], object]] = [
        lambda: officer.decrypt("piivault-accounts", "vault:v1:AAAA", b"x"),
        lambda: officer.encrypt("piivault-accounts", b"x", b"x"),
        lambda: officer.rewrap("piivault-accounts", "vault:v1:AAAA", b"x"),
        lambda: officer.write(f"{key}/config", deletion_allowed=True),
        lambda: officer.write(f"{key}/config", exportable=True),
        lambda: officer.delete(key),
        lambda: officer.write("transit/keys/piivault-pseudonym/rotate"),
        lambda: officer.write("transit/keys/piivault-pseudonym/config", min_decryption_version=2),
        lambda: officer.sign("piivault-capability", b"x"),
    ]
    for act in forbidden:
        with pytest.raises(KeyServerForbidden):
            act()
    officer.close()


def test_a_new_capability_key_signs_once_it_is_pinned_and_old_ones_hold(
    house: House, piivault_keys: Run
) -> None:
    root = piivault.new_root()
    old = house.issue(root, "accounts")
    said = piivault_keys("rotate", "capability")
    assert said.exit_code == 0, said.output
    public = next(word for word in said.output.split() if len(word) == 43 and "/" not in word)
    house.register(root=root)  # the running broker goes on with what is pinned
    (pinned,) = house.settings.capability_keys
    with house.another_server() as address:
        assert _signed_with(_issue(house, address, root)) == key_id(from_base64url(pinned))
    with house.another_server(CAPABILITY_KEYS=f"{pinned},{public}") as address:
        issued = _issue(house, address, root)
        assert _signed_with(issued) == key_id(from_base64url(public))
        assert to_base64url(from_base64url(public)) == public
        changed = {**house.environment("portal"), "PIIVAULT_ADDRESS": address}
        with piivault.Client.from_env(changed) as client:
            assert client.subject(root).view("accounts")["email"]
        channel = wire.open_channel(address, house.tls("portal"))
        viewed = wire.send(
            channel, subjects.ViewRequest(compartment="accounts", capability=old.capability)
        )
        assert viewed.fields
        channel.close()


def _issue(house: House, address: str, root: piivault.RootId) -> str:
    channel = wire.open_channel(address, house.tls("portal"))
    request = pseudonym_service_pb2.IssueRequest(compartment="accounts", root_id=bytes(root))
    answer: pseudonym_service_pb2.IssueResponse = wire.send(channel, request)
    channel.close()
    return answer.capability


def _signed_with(capability: str) -> bytes:
    return from_base64url(capability.removeprefix("cap_"))[1:9]
