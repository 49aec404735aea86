"""As whom a process logs in: at the key server, and at each of its databases.

Neither login may be good for more than the process is there for; outside development a process
that finds it is doesn't start.
"""

import asyncio
import logging
from contextlib import AsyncExitStack

from vault import config
from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerError
from vault.keys.login import AppRole, Jwt, Login, TokenFile
from vault.keys.transit import Transit
from vault.roles import seal_faults
from vault.store import schema
from vault.store.engine import Database, connect
from vault.store.rights import Rights, RoleError
from vault.store.role_sql import check
from vault.store.schema import Schema

log = logging.getLogger("piivault.app")

_STUCK_AFTER = 3.0  # seconds: well within the bound of an emergency stop, which waits for writers


class LoginError(Exception):
    """The key server or a login isn't what a process may use; the message says what to do."""


async def log_in(
    settings: config.Settings, section: config.Login, stack: AsyncExitStack
) -> Transit:
    """Return the key server under a login, logged in.

    Raises LoginError, VaultError(KEYS_UNAVAILABLE).
    """
    server = settings.key_server
    if server is None:
        raise LoginError("There is no [key_server] in the configuration.")
    transit = Transit(server.address, server.ca, _login(section), server.mount, server.timeout)
    stack.callback(transit.close)
    try:
        sealed = await asyncio.to_thread(transit.read, "sys/seal-status")
    except KeyServerError as e:
        log.error("key server: %s", e)
        raise VaultError(Reason.KEYS_UNAVAILABLE, "The key server can't be asked.") from None
    if faults := seal_faults(str(sealed["type"]), settings):
        raise LoginError(" ".join(faults))
    return transit


async def open_database(
    settings: config.Settings,
    section: config.Database,
    kind: Schema,
    rights: Rights,
    stack: AsyncExitStack,
) -> Database:
    """Return a database of this release's schema.

    Raises LoginError, SchemaError, VaultError(STORAGE_UNAVAILABLE).
    """
    database = connect(section.url, section.password_file, stuck_after=_STUCK_AFTER)
    stack.push_async_callback(database.close)
    await schema.check(database, kind)
    if not settings.server.development:
        try:
            await check(database, rights)
        except RoleError as e:
            raise LoginError(str(e)) from None
    return database


def _login(section: config.Login) -> Login:
    match section:
        case config.AppRoleLogin():
            return AppRole(section.role_id_file, section.secret_id_file, section.mount)
        case config.JwtLogin() | config.KubernetesLogin():
            return Jwt(section.role, section.jwt_file, section.mount)
        case config.TokenLogin():
            return TokenFile(section.token_file)
