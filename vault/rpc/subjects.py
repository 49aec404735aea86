"""SubjectService on the wire."""

from piivault.v1 import subject_service_pb2 as pb
from piivault.v1 import types_pb2

from vault.errors import Reason, VaultError
from vault.policy import SubjectKind, notices
from vault.rpc import wire
from vault.rpc.reports import report_out
from vault.rpc.requests import request_out
from vault.service.call import Call
from vault.service.consent import grant_consent, withdraw_consent
from vault.service.erase import erase
from vault.service.export_record import export_record
from vault.service.house import House
from vault.service.keep import KeptFields
from vault.service.list_consents import list_consents
from vault.service.put import Asked, put_own
from vault.service.register import register
from vault.service.report import report
from vault.service.requests import finish, request_of
from vault.service.restrict import lift_restriction, restrict
from vault.service.view import view


class SubjectServicer:
    """What the subject does with their own data, through a subject-facing service."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def ListNotices(
        self, call: Call, request: pb.ListNoticesRequest
    ) -> pb.ListNoticesResponse:
        """Return what a subject must be shown."""
        shown = notices(call.edition, request.compartment, request.language)
        return pb.ListNoticesResponse(notices=[wire.notice_out(n) for n in shown])

    async def Register(self, call: Call, request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Open a record."""
        try:
            kind = SubjectKind(request.kind)
        except ValueError:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                "A subject is of kind person or enterprise.",
                violations={"kind": "must be person or enterprise"},
            ) from None
        etag = await register(
            self._house.served(call, request.compartment),
            call,
            request.capability,
            kind,
            wire.fields_in(request.fields),
            wire.consents_in(request.consents),
        )
        return pb.RegisterResponse(etag=etag)

    async def Put(
        self, call: Call, request: pb.SubjectServicePutRequest
    ) -> pb.SubjectServicePutResponse:
        """Change values."""
        served = self._house.served(call, request.compartment)
        fields, clear = wire.fields_in(request.fields), wire.clear_in(request.clear)
        asked = Asked(call, request.capability, fields, clear, request.etag)
        etag = await put_own(served, asked)
        return pb.SubjectServicePutResponse(etag=etag)

    async def View(self, call: Call, request: pb.ViewRequest) -> pb.ViewResponse:
        """Return the subject's own values."""
        served = self._house.served(call, request.compartment)
        viewed = await view(served, call, request.capability, list(request.fields))
        return pb.ViewResponse(
            kind=types_pb2.SubjectKind.ValueType(viewed.kind),
            fields=wire.fields_out(viewed.fields),
            consents=[
                wire.consent_out(c, ask_again=c.purpose in viewed.ask_again)
                for c in viewed.consents
            ],
            etag=viewed.etag,
            restricted=viewed.restricted,
            erased=viewed.erased,
            kept=[kept_out(its) for its in viewed.kept],
        )

    async def Export(self, call: Call, request: pb.ExportRequest) -> pb.ExportResponse:
        """Return all that the record holds, sealed."""
        served = self._house.served(call, request.compartment)
        key = wire.export_key_in(request)
        exported = await export_record(served, call, request.capability, key)
        return pb.ExportResponse(package=exported.package, request=request_out(exported.request))

    async def Report(self, call: Call, request: pb.ReportRequest) -> pb.ReportResponse:
        """Say what is done with the record."""
        served = self._house.served(call, request.compartment)
        page = await report(served, call, request.capability, request.language, request.page_token)
        return report_out(page, call, served.uuid, request.language)

    async def GrantConsent(
        self, call: Call, request: pb.GrantConsentRequest
    ) -> pb.GrantConsentResponse:
        """Add consents."""
        served = self._house.served(call, request.compartment)
        asked = wire.consents_in(request.consents)
        return pb.GrantConsentResponse(
            etag=await grant_consent(served, call, request.capability, asked)
        )

    async def WithdrawConsent(
        self, call: Call, request: pb.WithdrawConsentRequest
    ) -> pb.WithdrawConsentResponse:
        """Withdraw consents."""
        served = self._house.served(call, request.compartment)
        purposes = list(request.purposes)
        return pb.WithdrawConsentResponse(
            etag=await withdraw_consent(served, call, request.capability, purposes)
        )

    async def Erase(self, call: Call, request: pb.EraseRequest) -> pb.EraseResponse:
        """Erase the record."""
        served = self._house.served(call, request.compartment)
        erased = await erase(served, call, request.capability)
        return pb.EraseResponse(
            receipt=erased.receipt,
            request=request_out(erased.request),
            kept=[kept_out(its) for its in erased.kept],
        )

    async def ListConsents(
        self, call: Call, request: pb.ListConsentsRequest
    ) -> pb.ListConsentsResponse:
        """Return consents with the words that were shown."""
        served = self._house.served(call, request.compartment)
        found = await list_consents(served, call, request.capability, request.language)
        return pb.ListConsentsResponse(
            consents=[
                pb.ConsentWithNotice(
                    consent=wire.consent_out(its.consent, ask_again=its.ask_again),
                    notice=wire.notice_out(its.notice),
                    as_shown=its.as_shown,
                )
                for its in found
            ]
        )

    async def Restrict(self, call: Call, request: pb.RestrictRequest) -> pb.RestrictResponse:
        """Restrict processing."""
        served = self._house.served(call, request.compartment)
        etag, asked = await restrict(served, call, request.capability)
        return pb.RestrictResponse(etag=etag, request=request_out(asked))

    async def LiftRestriction(
        self, call: Call, request: pb.LiftRestrictionRequest
    ) -> pb.LiftRestrictionResponse:
        """Lift the restriction."""
        served = self._house.served(call, request.compartment)
        etag = await lift_restriction(served, call, request.capability)
        return pb.LiftRestrictionResponse(etag=etag)

    async def GetRequest(self, call: Call, request: pb.GetRequestRequest) -> pb.GetRequestResponse:
        """Return how a request stands."""
        served = self._house.served(call, request.compartment)
        served.bearer(request.capability, call.service.spiffe)
        return pb.GetRequestResponse(request=request_out(await request_of(served, request.id)))

    async def FinishRequest(
        self, call: Call, request: pb.FinishRequestRequest
    ) -> pb.FinishRequestResponse:
        """Close a request."""
        served = self._house.served(call, request.compartment)
        finished = await finish(served, call, request.capability, request.id)
        return pb.FinishRequestResponse(request=request_out(finished))


def kept_out(kept: KeptFields) -> pb.KeptByLaw:
    """Write what the law has kept."""
    return pb.KeptByLaw(
        purpose=kept.purpose,
        basis=kept.basis,
        fields=kept.fields,
        until=kept.until.isoformat(),
    )
