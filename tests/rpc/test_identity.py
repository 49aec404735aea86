"""Identity: the one SPIFFE id in the client's certificate, or nobody."""

import shutil
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import subject_service_pb2 as pb

from tests.certificates import Authority
from tests.rpc.conftest import Guarded, Serve
from tests.wire import open_channel, refused, send
from vault.errors import Reason
from vault.service.call import Call

LIST = "/piivault.v1.SubjectService/ListNotices"
PORTAL = "spiffe://oshto.kg/portal"
REQUEST = pb.ListNoticesRequest()


async def _answer(call: Call, request: Message) -> Message:
    return pb.ListNoticesResponse()


METHODS = {LIST: (pb.ListNoticesRequest, _answer)}

NO_IDENTITY: dict[str, tuple[tuple[str, ...], str, str]] = {
    "two SPIFFE ids": ((PORTAL, "spiffe://oshto.kg/orders"), "", ""),
    "the same SPIFFE id twice": ((PORTAL, PORTAL), "", ""),
    "a SPIFFE id beside another URI": ((PORTAL, "https://oshto.kg/portal"), "", ""),
    "a URI that is no SPIFFE id": (("https://oshto.kg/portal",), "", ""),
    "the id in the common name only": ((), PORTAL, ""),
    "the id in the common name, beside a DNS name": ((), PORTAL, "oshto.kg"),
    "no name at all": ((), "", ""),
}


@pytest.mark.parametrize(("uris", "common_name", "dns"), NO_IDENTITY.values(), ids=NO_IDENTITY)
def test_a_certificate_without_exactly_one_spiffe_id_is_nobodys(
    serve: Serve, uris: tuple[str, ...], common_name: str, dns: str
) -> None:
    with serve(METHODS) as guarded:
        tls = guarded.authority.client("odd", *uris, common_name=common_name, dns=dns)
        with open_channel(guarded.address, tls) as channel:
            refusal = refused(channel, REQUEST)
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.reason == Reason.IDENTITY_MISSING
    assert "exactly one" in refusal.message
    assert "oshto.kg" not in refusal.message


def test_a_dns_name_beside_the_spiffe_id_does_not_count(serve: Serve) -> None:
    with serve(METHODS) as guarded:
        tls = guarded.authority.client("portal", PORTAL, common_name="orders", dns="orders")
        with open_channel(guarded.address, tls) as channel:
            assert send(channel, REQUEST) == pb.ListNoticesResponse()


def _is_shut_out(channel: grpc.Channel) -> bool:
    """Tell whether not one byte of ours came back: the handshake failed."""
    with channel, pytest.raises(grpc.RpcError) as caught:
        send(channel, REQUEST)
    error: object = caught.value
    assert isinstance(error, grpc.Call)
    return error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata()


def test_nobody_comes_in_without_a_certificate(serve: Serve) -> None:
    with serve(METHODS) as guarded:
        assert _is_shut_out(open_channel(guarded.address, ca=guarded.authority.file))


def test_nobody_comes_in_with_an_expired_certificate(serve: Serve) -> None:
    with serve(METHODS) as guarded:
        tls = guarded.authority.client("late", PORTAL, ends=-timedelta(seconds=1))
        assert _is_shut_out(open_channel(guarded.address, tls))


def test_nobody_comes_in_with_a_certificate_of_another_authority(
    serve: Serve, tmp_path: Path
) -> None:
    """Not even with the same names in it."""
    with serve(METHODS) as guarded:
        tls = Authority(tmp_path / "other").client("portal", PORTAL)
        assert _is_shut_out(open_channel(guarded.address, tls, ca=guarded.authority.file))


def test_nobody_comes_in_over_plaintext(serve: Serve) -> None:
    with serve(METHODS) as guarded:
        assert _is_shut_out(grpc.insecure_channel(guarded.address))


def test_the_files_are_read_anew_when_they_change(serve: Serve, tmp_path: Path) -> None:
    """The clients' authority is exchanged: new ones come in, old ones stay out, no restart."""
    other = Authority(tmp_path / "other")
    with serve(METHODS) as guarded:
        assert _comes_in(guarded, guarded.authority)
        assert not _comes_in(guarded, other)
        trusted = guarded.authority.file.read_bytes()  # what clients know the server by
        (tmp_path / "server-ca.pem").write_bytes(trusted)
        shutil.copy(other.file, guarded.server_tls.client_ca)
        assert _comes_in(guarded, other, tmp_path / "server-ca.pem")
        assert not _comes_in(guarded, guarded.authority, tmp_path / "server-ca.pem")


def _comes_in(guarded: Guarded, authority: Authority, ca: Path | None = None) -> bool:
    tls = authority.client("portal", PORTAL)
    channel = open_channel(guarded.address, tls, ca=ca or guarded.authority.file)
    with channel:
        try:
            return bool(send(channel, REQUEST) == pb.ListNoticesResponse())
        except grpc.RpcError:
            return False
