"""Calls of SubjectService by which a subject asks for what the law gives them. Pure."""

from collections.abc import Callable, Mapping, Sequence

from piivault._call import Call, request_id_or_new, text
from piivault._requests import Erasure, SealedExport, SubjectRequest, kept_in, request_in
from piivault.errors import InvalidRequest
from piivault.export_keys import PublicKey, Suite
from piivault.v1 import subject_service_pb2 as pb

_SERVICE = "/piivault.v1.SubjectService"
_SUITES: Mapping[Suite, pb.ExportSuite.ValueType] = {
    "X25519": pb.EXPORT_SUITE_X25519,
    "MLKEM768-X25519": pb.EXPORT_SUITE_MLKEM768_X25519,
}


def export(
    compartment: str, capability: str, key: PublicKey, request_id: str
) -> Call[pb.ExportResponse, SealedExport]:
    """Ask for all that the record holds, sealed to a key."""
    return Call(
        f"{_SERVICE}/Export",
        compartment,
        pb.ExportRequest(
            compartment=compartment,
            capability=capability,
            suite=_SUITES[key.suite],
            public_key=key.raw,
        ),
        pb.ExportResponse,
        lambda got: SealedExport(got.package, request_in(got.request)),
        request_id,
    )


def report_page(
    compartment: str, language: str, before: Sequence[pb.ReportResponse], request_id: str
) -> Callable[[str], Call[pb.ReportResponse, pb.ReportResponse]]:
    """Ask for the page of a report that follows those before it, given the capability.

    The first page is the subject's request, and has its id.
    """
    token = before[-1].next_page_token if before else ""
    return lambda capability: Call(
        f"{_SERVICE}/Report",
        compartment,
        pb.ReportRequest(
            compartment=compartment,
            capability=capability,
            language=text(language, "language"),
            page_token=token,
        ),
        pb.ReportResponse,
        lambda got: got,
        request_id_or_new() if before else request_id,
    )


def erase(compartment: str, capability: str, request_id: str) -> Call[pb.EraseResponse, Erasure]:
    """Erase the record."""
    return Call(
        f"{_SERVICE}/Erase",
        compartment,
        pb.EraseRequest(compartment=compartment, capability=capability),
        pb.EraseResponse,
        lambda got: Erasure(got.receipt, request_in(got.request), kept_in(got.kept)),
        request_id,
    )


def restrict(
    compartment: str, capability: str, request_id: str
) -> Call[pb.RestrictResponse, SubjectRequest]:
    """Restrict processing."""
    return Call(
        f"{_SERVICE}/Restrict",
        compartment,
        pb.RestrictRequest(compartment=compartment, capability=capability),
        pb.RestrictResponse,
        lambda got: request_in(got.request),
        request_id,
    )


def lift_restriction(
    compartment: str, capability: str, request_id: str
) -> Call[pb.LiftRestrictionResponse, str]:
    """Lift the restriction."""
    return Call(
        f"{_SERVICE}/LiftRestriction",
        compartment,
        pb.LiftRestrictionRequest(compartment=compartment, capability=capability),
        pb.LiftRestrictionResponse,
        lambda got: got.etag,
        request_id,
    )


def get_request(
    compartment: str, capability: str, id_: bytes
) -> Call[pb.GetRequestResponse, SubjectRequest]:
    """Ask how a request stands."""
    return Call(
        f"{_SERVICE}/GetRequest",
        compartment,
        pb.GetRequestRequest(compartment=compartment, capability=capability, id=_given(id_)),
        pb.GetRequestResponse,
        lambda got: request_in(got.request),
        request_id_or_new(),
    )


def finish_request(
    compartment: str, capability: str, id_: bytes
) -> Call[pb.FinishRequestResponse, SubjectRequest]:
    """Close a request."""
    return Call(
        f"{_SERVICE}/FinishRequest",
        compartment,
        pb.FinishRequestRequest(compartment=compartment, capability=capability, id=_given(id_)),
        pb.FinishRequestResponse,
        lambda got: request_in(got.request),
        request_id_or_new(),
    )


def _given(id_: bytes) -> bytes:
    if not isinstance(id_, bytes):
        raise InvalidRequest("A request is named by its id, which is bytes: SubjectRequest.id.")
    return id_
