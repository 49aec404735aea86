"""Where no server answers, the error says which of the many reasons it is, and what to do."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from piivault import TLS
from piivault.errors import ConnectionFailed, DeadlineExceeded, PiivaultError

from .house import PSEUDONYM, House, Sdk, record
from .pki import DAY, Authority


def failure(sdk: Sdk, address: str, tls: TLS, timeout: float = 10.0) -> PiivaultError:
    vault = sdk.open(address, tls, timeout=timeout)
    accounts = vault.compartment("accounts", purpose="services")
    with pytest.raises(PiivaultError) as error:
        sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    return error.value


@pytest.fixture
def elsewhere(tmp_path: Path) -> Authority:
    (tmp_path / "elsewhere").mkdir()
    return Authority(tmp_path / "elsewhere", "elsewhere-ca")


def test_nobody_listens(sdk: Sdk, portal: TLS) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = failure(sdk, f"127.0.0.1:{port}", portal)
    assert isinstance(error, ConnectionFailed)
    assert (error.reason, error.retryable) == ("UNREACHABLE", True)
    assert "Nobody listens" in error.message
    assert "make dev" in error.message


def test_the_host_has_no_address(sdk: Sdk, portal: TLS) -> None:
    error = failure(sdk, "nowhere.invalid:8443", portal)
    assert error.reason == "UNREACHABLE"
    assert "can't be found" in error.message


def test_the_server_does_not_accept_another_authority_s_client(
    sdk: Sdk, house: House, authority: Authority, elsewhere: Authority
) -> None:
    error = failure(sdk, house.address, replace(elsewhere.client(), ca=authority.file))
    assert (error.reason, error.retryable) == ("TLS_REFUSED", False)
    assert "isn't issued by the CA in" in error.message


def test_the_client_does_not_accept_another_authority_s_server(
    sdk: Sdk, house: House, portal: TLS, elsewhere: Authority
) -> None:
    error = failure(sdk, house.address, replace(portal, ca=elsewhere.file))
    assert (error.reason, error.retryable) == ("TLS_REFUSED", False)
    assert "certificate of the server" in error.message


def test_the_server_has_another_address_in_its_certificate(
    sdk: Sdk, authority: Authority, portal: TLS
) -> None:
    house = House(authority.server("127.0.0.2"))
    error = failure(sdk, house.address, portal)
    house.stop()
    assert (error.reason, error.retryable) == ("TLS_REFUSED", False)
    assert "another host name" in error.message


def test_a_certificate_that_expires_while_the_client_is_open_is_named(
    sdk: Sdk, house: House, authority: Authority, portal: TLS, elsewhere: Authority
) -> None:
    """The server refuses the certificate that was loaded; by now the file shows the fault."""
    tls = replace(elsewhere.client(), ca=authority.file)
    vault = sdk.open(house.address, tls, timeout=10.0)
    elsewhere.client(begins=-2 * DAY, ends=-DAY)
    with pytest.raises(ConnectionFailed, match="expired at") as error:
        sdk.do(vault.notices("accounts", "ky"))
    assert not error.value.retryable


@contextmanager
def listener(answer: Callable[[socket.socket], Any]) -> Iterator[str]:
    """Listen and do with each connection what a test says."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def speak_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_what_listens_is_not_tls(sdk: Sdk, portal: TLS) -> None:
    with listener(speak_http) as address:
        error = failure(sdk, address, portal)
    assert (error.reason, error.retryable) == ("TLS_REFUSED", False)
    assert "doesn't speak TLS" in error.message


def test_what_listens_never_answers(sdk: Sdk, portal: TLS) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        error = failure(sdk, address, portal, timeout=0.2)
    assert isinstance(error, DeadlineExceeded)
    assert address in error.message
    assert "within 0.2 s" in error.message


def test_a_server_that_comes_up_is_found_by_the_same_client(
    sdk: Sdk, authority: Authority, portal: TLS
) -> None:
    house = House(authority.server())
    vault = sdk.open(house.address, portal, timeout=10.0)
    accounts = vault.compartment("accounts", purpose="services")
    port = int(house.address.split(":")[1])
    house.stop()
    with pytest.raises(ConnectionFailed):
        sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    house = House(authority.server(), port)
    house.answer("Reveal", record(phone="+996555123456"))
    got = retry_while_reconnecting(sdk, accounts)
    house.stop()
    assert got["phone"].expose() == "+996555123456"


def retry_while_reconnecting(sdk: Sdk, accounts: Any) -> Any:
    """Try again, as a caller does: gRPC waits a moment between two attempts to connect."""
    for _ in range(20):
        with suppress(ConnectionFailed):
            return sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    raise AssertionError("never reconnected")
