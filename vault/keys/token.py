"""The token under which a process asks the key server: got, renewed in time, replaced.

It is renewed at two thirds of its life. Where that isn't granted, or the key server takes it no
more, a login gets another.
"""

import threading
import time

from hvac import adapters, exceptions

from vault.keys.causes import ours
from vault.keys.errors import KeyServerError, KeyServerForbidden
from vault.keys.login import Login, Refused, Token

_REPLACED = 1.0  # seconds that a new token isn't replaced by another
# Which of them it is depends on the auth method: to AppRole a wrong secret id is "invalid".
_REFUSED_LOGIN = (exceptions.Forbidden, exceptions.Unauthorized, exceptions.InvalidRequest)


class HeldToken:
    """Keeps a token in `http`, which sends it with each request. Threads may share it."""

    def __init__(self, login: Login | Token, http: adapters.JSONAdapter, address: str) -> None:
        self._login = login
        self._http = http
        self._address = address
        self._lock = threading.Lock()  # one login at a time; guards all below
        self._renew_at = 0.0  # on the monotonic clock
        self._ttl = 0.0
        self._refused = Refused()
        self._replace_at = 0.0  # on the monotonic clock: before, no token is replaced again
        if isinstance(login, Token):
            http.token, self._renew_at = login.token, float("inf")

    def keep(self) -> str | None:
        """Log in or renew if need be; return the token. Raises KeyServerError."""
        if not (isinstance(self._login, Token) or self._is_fresh):
            with self._lock:
                if not self._is_fresh and not (self._http.token and self._renew()):
                    self._log_in(self._login)
        token: str | None = self._http.token
        return token

    def forget(self, token: str | None) -> bool:
        """Drop a token that was refused; tell whether another is worth a try.

        One that was just replaced isn't revoked: it may not do what was asked.
        """
        if isinstance(self._login, Token):
            return False
        with self._lock:
            if self._http.token != token:
                return True  # another thread has a new one by now
            if time.monotonic() < self._replace_at:
                return False
            self._replace_at = time.monotonic() + _REPLACED
            self._http.token = None
        return True

    @property
    def _is_fresh(self) -> bool:
        return bool(self._http.token) and time.monotonic() < self._renew_at

    def _renew(self) -> bool:
        """Renew the token; False if it isn't granted or what is left of its life is short."""
        try:
            auth = self._http.post("/v1/auth/token/renew-self")["auth"]
            left = float(auth["lease_duration"])
        except exceptions.VaultError:
            return False
        if left < self._ttl / 2:
            return False
        self._renew_at = time.monotonic() + left * 2 / 3
        return True

    def _log_in(self, login: Login) -> None:
        """Get a new token; hold the lock."""
        self._http.token = None
        refused = KeyServerForbidden(
            f"log in with {login.name} at {self._address}: refused. {login.advice}"
        )
        if self._refused.holds(login):
            raise refused
        try:
            token, life = login.obtain(self._http)
            self._refused.forget()
            self._ttl = life or float("inf")
            self._renew_at = time.monotonic() + self._ttl * 2 / 3
            self._http.token = token
            return
        except KeyServerForbidden as e:  # a file of the login can't be read
            error: KeyServerError = e
        except _REFUSED_LOGIN:
            self._refused.note(login)
            error = refused
        except Exception as e:
            error = ours(e, "log in with", login.name, self._address, KeyServerError)
        raise error
