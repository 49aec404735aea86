"""Officers rotate keys, close epochs and destroy, while others read and write through workers."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import click
import piivault
import pytest
from click.testing import CliRunner, Result
from piivault.keys import Erasures, Keys, KeyVersion
from piivault.officers import OfficersClient
from piivault.rotations import Rotation
from piivault.v1 import pseudonym_service_pb2
from piivault.v1 import subject_service_pb2 as subjects

from tests import wire
from tests.house import House, run_house
from tests.people import Registered
from tests.verifying import owner_of, run
from tests.workers import BOUND, Worker, worker_process
from vault.cli.keys import keys as command
from vault.cli.verify import verify
from vault.crypto.capability import key_id
from vault.errors import Reason
from vault.keys.errors import KeyServerForbidden, WrappedKeyRejected
from vault.keys.officer import TransitOfficer
from vault.keys.transit import Token, Transit
from vault.names import from_base64url, to_base64url

_ENDS = 30.0  # seconds, at most, for a rotation
_ROOT = Path(__file__).parents[2]
CLOSE = ("close-epoch", "accounts", "--yes", "--no-backup")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One of its own: others' tests count on first versions."""
    with run_house(tmp_path_factory.mktemp("rotated") / "state", postgres=True) as started:
        yield started


@pytest.fixture
def ring(house: House) -> Iterator[Keys]:
    with OfficersClient.from_env(house.environment("officer-aida")) as officers:
        yield officers.keys("accounts")


Run = Callable[..., Result]


@pytest.fixture
def piivault_keys(house: House) -> Run:
    """Run `piivault keys …` as an officer; asked, they say yes."""

    def run(*arguments: str, officer: str = "aida") -> Result:
        environment = house.environment(f"officer-{officer}")
        return CliRunner().invoke(command, arguments, env=environment, input="y\ny\ny\n")

    return run


def _ended(ring: Keys, rotation: Rotation) -> Rotation:
    ends = time.monotonic() + _ENDS
    while rotation.state == "running" and not rotation.awaits_officer:
        assert time.monotonic() < ends, rotation
        time.sleep(0.05)
        rotation = ring.rotation(rotation.id)
    assert rotation.state != "failed", rotation
    return rotation


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


def test_no_call_fails_while_every_level_rotates_and_an_epoch_closes(
    house: House, ring: Keys, piivault_keys: Run
) -> None:
    """Three workers, one of them stopped for longer than it polls, again and again."""
    with worker_process(house) as one, worker_process(house) as paused:
        traffic = Traffic(house, [one, paused])
        with traffic.running():
            for level in ("kek", "index", "data-key", "audit"):
                paused.signal(SIGSTOP)
                rotation = ring.rotate(level, "email" if level == "index" else "")
                time.sleep(1.2 * BOUND)  # it polls five times as often
                paused.signal(SIGCONT)
                _ended(ring, rotation)
            done = piivault_keys("rotate", "accounts", "transit", "--trim", "--yes")
            assert done.exit_code == 0, done.output
            paused.signal(SIGSTOP)
            with ThreadPoolExecutor(1) as pool:
                closing = pool.submit(piivault_keys, *CLOSE)
                time.sleep(1.2 * BOUND)
                paused.signal(SIGCONT)
                assert closing.result().exit_code == 0, closing.result().output
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
    states = {str(key.name): key.state for key in ring.status().keys}
    assert states["kek:1"] == states["kek:2"] == states["index:email:1"] == "destroyed"
    assert states["kek:3"] == states["index:email:2"] == states["audit:2"] == "active"


@pytest.fixture
def person(house: House) -> Registered:
    return house.register()


def test_an_officer_who_is_killed_at_every_call_closes_the_epoch_in_the_end(
    house: House, ring: Keys, person: Registered, tmp_path: Path
) -> None:
    """With the backup that one of them wrote. The last one finds it closed."""
    before, file = ring.status(), tmp_path / "accounts-keys"
    gone = house.register()
    gone.subject.erase("accounts")
    ((wrapped,),) = house.sql("accounts", "SELECT wrapped FROM keyring WHERE kind = 'lookup'")
    argv = [sys.executable, "-m", "tests.killed_officer", "keys", "close-epoch", "accounts"]
    environment = {**os.environ, **house.environment("officer-aida")}
    with subprocess.Popen(
        [*argv, "--yes", *backup_to(house, file)],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as killed:
        while killed.poll() is None:
            assert house.phone_of(person) == person.values["phone"]
            time.sleep(0.05)
        assert killed.stdout is not None
        said = killed.stdout.read()
    assert said.count("ended 9") == 6
    assert said.count("was written by an earlier run. It is kept.") == 2  # before trim, and end
    assert "no epoch of accounts is being closed" in said
    assert said.endswith("ended 1\n")
    after = ring.status()
    assert after.erasures.epochs_closed == before.erasures.epochs_closed + 1
    written = file.read_bytes()
    for (now,) in house.sql("accounts", "SELECT wrapped FROM keyring WHERE kind <> 'audit'"):
        assert now.encode() in written
    assert after.transit.oldest_needed > before.transit.oldest_needed
    assert not [r for r in ring.rotations() if r.state == "running"]
    with pytest.raises(WrappedKeyRejected):  # its version is gone, whatever the context
        house.running.admin.decrypt(after.transit.name, wrapped, b"any")


def backup_to(house: House, file: Path) -> list[str]:
    """Return the options that have the backup of the keys written."""
    options = ["--backup", file, "--config", house.running.config, *owner_of(house)]
    return [str(option) for option in options]


MEANWHILE = {
    "before the Transit key is rotated": (TransitOfficer, "rotate"),
    "before all is wrapped anew": (Keys, "rotate"),
    "before old versions are trimmed away": (TransitOfficer, "retire"),
}


@pytest.mark.parametrize(("owner", "call"), MEANWHILE.values(), ids=MEANWHILE)
def test_two_officers_at_once_close_one_epoch(
    house: House,
    ring: Keys,
    person: Registered,
    piivault_keys: Run,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    call: str,
) -> None:
    """The one does all of it while the other is at some step, and both end well."""
    before, real = ring.status(), getattr(owner, call)

    def overtaken(*args: object) -> object:
        monkeypatch.setattr(owner, call, real)
        done = piivault_keys(*CLOSE, officer="bakyt")
        assert done.exit_code == 0, done.output
        return real(*args)

    monkeypatch.setattr(owner, call, overtaken)
    done = piivault_keys(*CLOSE)
    assert done.exit_code == 0, done.output
    number = before.erasures.epochs_closed + 1
    assert f"Epoch {number} of accounts is closed." in done.output
    assert ring.status().erasures.epochs_closed == number
    assert not [r for r in ring.rotations() if r.state == "running"]
    ring.evict()
    assert house.phone_of(person) == person.values["phone"]


def test_no_backup_is_taken_for_another(
    house: House, ring: Keys, piivault_keys: Run, tmp_path: Path
) -> None:
    """Neither overwritten, nor trusted, unless it holds the keys as they are by now."""
    file = tmp_path / "accounts-keys"
    old = run(house, "backup", "accounts", "--keys", file, *owner_of(house))
    assert old.returncode == 0, old.stderr
    whole, before = file.read_bytes(), ring.status()
    refused = piivault_keys("close-epoch", "accounts", "--yes", *backup_to(house, file))
    assert "no epoch of accounts is being closed" in refused.output
    assert ring.status().epoch == before.epoch

    ring.close_epoch()  # by somebody who left it
    refused = piivault_keys("close-epoch", "accounts", "--yes", *backup_to(house, file))
    assert refused.exit_code == 1
    assert "isn't a backup of the keys of accounts as they are now" in refused.output
    key = before.transit.name
    oldest = TransitOfficer(house.running.admin).versions(key).oldest
    assert oldest <= before.transit.oldest_needed
    assert file.read_bytes() == whole

    done = piivault_keys("close-epoch", "accounts", "--yes", *backup_to(house, tmp_path / "new"))
    assert done.exit_code == 0, done.output
    assert TransitOfficer(house.running.admin).versions(key).oldest > oldest


def test_no_command_trims_away_what_is_needed_again(
    house: House, ring: Keys, piivault_keys: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was put back while an officer was asked: the key server would let it go."""
    lookup = "kind = 'lookup'"
    ((old,),) = house.sql("accounts", f"SELECT wrapped FROM keyring WHERE {lookup}")
    put_back = f"UPDATE keyring SET wrapped = '{old}' WHERE {lookup}"
    commands = (("rotate", "accounts", "transit"), ("close-epoch", "accounts"))
    key = ring.status().transit.name
    oldest = TransitOfficer(house.running.admin).versions(key).oldest

    def confirm(question: str, **_: object) -> bool:
        if "Is it written?" in question:
            house.sql("accounts", put_back)
        return True

    monkeypatch.setattr(click, "confirm", confirm)
    for arguments in commands:
        refused = piivault_keys(*arguments)
        assert refused.exit_code == 1, refused.output
        assert "Nothing was trimmed away" in refused.output
        assert TransitOfficer(house.running.admin).versions(key).oldest == oldest
    monkeypatch.undo()
    assert piivault_keys(*CLOSE).exit_code == 0


def test_what_was_erased_is_shredded_and_then_unrecoverable(
    house: House, ring: Keys, piivault_keys: Run
) -> None:
    """As soon as no snapshot of the key server is left from before it was closed."""
    house.register().subject.erase("accounts")
    assert piivault_keys(*CLOSE).exit_code == 0
    again = house.register()
    again.subject.erase("accounts")
    unknown = ring.status().erasures
    assert (unknown.unrecoverable, unknown.snapshot_retention_days) == (0, None)
    expected = {"0": (1, unknown.shredded - 1), "30": (unknown.shredded, 0)}
    for days, found in expected.items():
        erased = _erasures_where_snapshots_are_kept(house, days)
        assert (erased.shredded, erased.unrecoverable) == found
    house.register(root=again.root)  # they come back: nobody may claim one too many
    assert _erasures_where_snapshots_are_kept(house, "0").unrecoverable == unknown.shredded - 2


def _erasures_where_snapshots_are_kept(house: House, days: str) -> Erasures:
    with house.another_server(KEY_SERVER__SNAPSHOT_RETENTION_DAYS=days) as address:
        environment = {**house.environment("officer-aida"), "PIIVAULT_ADDRESS": address}
        with OfficersClient.from_env(environment) as officers:
            return officers.keys("accounts").status().erasures


def test_whoever_leaves_a_rotation_comes_back_to_it(
    house: House, ring: Keys, person: Registered, piivault_keys: Run
) -> None:
    """It waits while its old key is suspended, and says so."""
    old = max(k.name.version for k in ring.status().keys if k.name.kind == "kek")
    ring.suspend(KeyVersion("kek", old))
    left = piivault_keys("rotate", "accounts", "kek", "--leave")
    assert "running" in left.output
    ends = time.monotonic() + _ENDS
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
    assert house.phone_of(person) == person.values["phone"]


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


def test_destroying_takes_two_officers_and_just_what_they_signed(
    house: House, ring: Keys, person: Registered, piivault_keys: Run
) -> None:
    """A KEK that still wraps: the rotation that would free it waits for a suspended one."""
    old = max(k.name.version for k in ring.status().keys if k.name.kind == "kek")
    kek = KeyVersion("kek", old)
    ring.suspend(kek)
    rotation = ring.rotate("kek")
    newcomer = house.register()
    lost = ring.destroy(kek)
    assert lost.records > 0
    arguments = ("destroy", "accounts", "--key", str(kek), "--reason", "drill", "--yes")
    first = piivault_keys(*arguments)
    assert "1 of 2 officers" in first.output, first.output
    assert not ring.destroy(kek, lost.digest).destroyed
    assert "approved by 1 of 2" in piivault_keys(*arguments).output  # the same officer, again
    person.subject.erase("accounts")  # what is lost changes: what was signed is of no use
    second = piivault_keys("approve", "--yes", officer="bakyt")
    assert "in effect" in second.output, second.output
    assert not ring.destroy(kek, lost.digest).destroyed
    for officer in ("aida", "bakyt"):
        done = piivault_keys(*arguments, officer=officer)
        assert done.exit_code == 0, done.output
    assert f"Destroyed: {kek}" in done.output
    again = piivault_keys(*arguments)
    assert (again.exit_code, again.output) == (
        0,
        f"{kek} of accounts is destroyed already. Nothing was changed.\n",
    )
    assert ring.destroy(kek, lost.digest).destroyed
    status = {str(k.name): k.state for k in ring.status().keys}
    assert status[str(kek)] == "destroyed"
    assert house.phone_of(newcomer) == newcomer.values["phone"]
    assert _ended(ring, rotation).state == "done"
    operations = [(e.service, e.operation, e.reason) for e in house.trail("accounts").events]
    assert ("officer:aida", f"keys.destroy/kek/{old}", Reason.STALE_ETAG) in operations
    assert ("officer:bakyt", f"keys.destroy/kek/{old}", "") in operations


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
