"""What the database's own errors become: their text can hold parameters, so none passes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from asyncpg import InterfaceError, PostgresError
from sqlalchemy.exc import SQLAlchemyError

from vault.errors import Reason, VaultError

log = logging.getLogger("piivault.store")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn whatever the driver raises into VaultError(STORAGE_UNAVAILABLE)."""
    try:
        yield
    except (SQLAlchemyError, PostgresError, InterfaceError, OSError, TimeoutError) as e:
        log.error("storage: %s", describe(e))
        raise VaultError(
            Reason.STORAGE_UNAVAILABLE,
            "The database can't be asked just now. Retry; if it lasts, tell the operators.",
        ) from None


def describe(error: BaseException) -> str:
    """Name an error by its classes and SQLSTATE alone."""
    cause = getattr(error, "orig", None)
    names = type(error).__name__ + (f" ({type(cause).__name__})" if cause is not None else "")
    state = getattr(cause or error, "sqlstate", None)  # without SQLAlchemy: the driver's own
    return f"{names} SQLSTATE {state}" if state else names
