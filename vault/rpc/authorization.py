"""Who may call what: a row a method. A method without a row is denied.

What a service may do within a method (its purposes, compartments, fields) is the edition's
word. The standard health service isn't ours and says only whether we serve: any certificate of
the client CA may ask it.
"""

from collections.abc import Mapping

from vault.rpc.identity import Caller

_SUBJECT_FACING = frozenset({Caller.SUBJECT_FACING})
_INTERNAL = frozenset({Caller.INTERNAL})
_OFFICERS = frozenset({Caller.OFFICER})
_SERVICES_TOO = frozenset({Caller.OFFICER, Caller.INTERNAL, Caller.SUBJECT_FACING})

ROWS: Mapping[str, frozenset[Caller]] = {
    "/piivault.v1.PseudonymService/Issue": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/ListNotices": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/Register": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/Put": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/View": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/Report": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/Export": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/GrantConsent": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/WithdrawConsent": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/Erase": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/ListConsents": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/Restrict": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/LiftRestriction": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/GetRequest": _SUBJECT_FACING,
    "/piivault.v1.SubjectService/FinishRequest": _SUBJECT_FACING,
    "/piivault.v1.RecordService/Reveal": _INTERNAL,
    "/piivault.v1.RecordService/BatchReveal": _INTERNAL,
    "/piivault.v1.RecordService/StreamReveal": _INTERNAL,
    "/piivault.v1.RecordService/Put": _INTERNAL,
    "/piivault.v1.RecordService/BulkPut": _INTERNAL,
    "/piivault.v1.RecordService/Find": _INTERNAL,
    "/piivault.v1.RecordService/ListRecords": _INTERNAL,
    "/piivault.v1.RecordService/Describe": _INTERNAL,
    "/piivault.v1.PolicyService/GetEdition": _SERVICES_TOO,
    "/piivault.v1.PolicyService/Explain": _SERVICES_TOO,
    "/piivault.v1.PolicyService/Approve": _OFFICERS,
    "/piivault.v1.PolicyService/ListPending": _OFFICERS,
    "/piivault.v1.PolicyService/ListTouches": _OFFICERS,
    "/piivault.v1.AuditService/ListEvents": _OFFICERS,
    "/piivault.v1.AuditService/TailEvents": _OFFICERS,
    "/piivault.v1.AuditService/Summarize": _OFFICERS,
    "/piivault.v1.RequestService/ListRequests": _OFFICERS,
    "/piivault.v1.KeyService/GetKeyStatus": _OFFICERS,
    "/piivault.v1.KeyService/Suspend": _OFFICERS,
    "/piivault.v1.KeyService/Resume": _OFFICERS,
    "/piivault.v1.KeyService/Evict": _OFFICERS,
    "/piivault.v1.KeyService/Rotate": _OFFICERS,
    "/piivault.v1.KeyService/GetRotation": _OFFICERS,
    "/piivault.v1.KeyService/ListRotations": _OFFICERS,
    "/piivault.v1.KeyService/CloseEpoch": _OFFICERS,
    "/piivault.v1.KeyService/Destroy": _OFFICERS,
}


def may_call(method: str, caller: Caller) -> bool:
    """Tell whether this kind of caller may call a method, by its full name."""
    return caller in ROWS.get(method, frozenset())
