"""What hvac sends its requests by: a pool of urllib3, and no more than the key server needs.

hvac's own is a session of `requests`, which is built on the same pool. Around it are cookies,
redirects, hooks and proxies: none of them is wanted here, and together they cost as much as the
request does.
"""

import json as jsons
from collections.abc import Mapping
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext, TLSVersion
from typing import Any

from urllib3 import BaseHTTPResponse, PoolManager


class Answer:
    """An answer as hvac reads it, whole."""

    def __init__(self, answer: BaseHTTPResponse) -> None:
        self.status_code = answer.status
        self.headers = answer.headers
        self._data = answer.data

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return self.status_code < 400

    @property
    def text(self) -> str:
        """Its body, as text."""
        return self._data.decode(errors="replace")

    def json(self) -> Any:
        """Parse its body. Raises ValueError."""
        return jsons.loads(self._data)


class Session:
    """Connections to one server, of which `most` are kept open. May be shared by threads.

    `ca` is read for each new connection. Raises what urllib3 raises, and OSError without a `ca`.
    """

    # As hvac looks for them: what is verified by is no option of a request here.
    verify = cert = proxies = None

    def __init__(self, ca: Path, most: int) -> None:
        self._ca = ca
        # One of our own: others write what opens this connection to SSLKEYLOGFILE, if that is set.
        trusting = SSLContext(PROTOCOL_TLS_CLIENT)
        trusting.minimum_version = TLSVersion.TLSv1_2
        self._pools = PoolManager(num_pools=1, maxsize=most, ssl_context=trusting, ca_certs=str(ca))

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout: float,
        json: object = None,
        **_unused: object,  # those above, and whether to follow redirects: it never does
    ) -> Answer:
        """Send a request once and return the answer; `timeout` is in seconds."""
        if not self._ca.exists():
            raise FileNotFoundError
        body, own = None, dict(headers)
        if json is not None:
            body = jsons.dumps(json, separators=(",", ":")).encode()
            own["Content-Type"] = "application/json"
        answer = self._pools.urlopen(
            method.upper(),
            url,
            body=body,
            headers=own,
            timeout=timeout,
            retries=False,
            redirect=False,
        )
        return Answer(answer)

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()
