"""Why no server answered: gRPC's own text is read for hints, and never passed on."""

from os import fspath

from piivault import _certificate
from piivault._certificate import TLS
from piivault.errors import ConnectionFailed


def explain(address: str, tls: TLS, details: str) -> ConnectionFailed:
    """Say what is wrong between here and `address`, and what to do about it."""
    if "Connection refused" in details:
        return ConnectionFailed(
            f"Nobody listens at {address}. Start the server (`make dev` on a development "
            "machine) or correct PIIVAULT_ADDRESS."
        )
    if "DNS" in details or "errors resolving" in details:
        return ConnectionFailed(f"The host of {address} can't be found: is the name right?")
    if "WRONG_VERSION_NUMBER" in details:
        return _refused(f"What listens at {address} doesn't speak TLS: is it the right port?")
    if "Hostname Verification" in details:
        return _refused(
            f"The certificate of the server at {address} is for another host name: connect by "
            "the name that it was issued for."
        )
    if "handshake failed" in details:
        return _refused(
            f"The certificate of the server at {address} isn't from the CA in {fspath(tls.ca)}, "
            "or isn't valid now."
        )
    if "failed to connect" in details:
        return _closed_at_once(address, tls)
    return ConnectionFailed(
        f"The connection to {address} broke, at each retry too. The server may be restarting: "
        "try again with this request id.",
        reason="CONNECTION_LOST",
    )


def _closed_at_once(address: str, tls: TLS) -> ConnectionFailed:
    """Look for what the server saw: one that refuses our certificate only closes."""
    fault = _certificate.fault(tls)
    if fault is not None:
        return _refused(fault)
    if not _certificate.is_issued_by_ca(tls):
        return _refused(
            f"The server at {address} closed the connection. Most likely it doesn't accept the "
            f"certificate {fspath(tls.certificate)}, which isn't issued by the CA in "
            f"{fspath(tls.ca)}: ask for one from the CA that the server trusts."
        )
    return ConnectionFailed(
        f"The server at {address} closed the connection. It doesn't trust who issued the "
        f"certificate {fspath(tls.certificate)}, or nothing stands behind that port."
    )


def _refused(message: str) -> ConnectionFailed:
    return ConnectionFailed(message, reason="TLS_REFUSED", retryable=False)
