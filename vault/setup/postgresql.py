"""What the database administrator applies to PostgreSQL, for psql. No password is in it."""

from collections.abc import Iterable

from vault.store.rights import OWNER, database_of, roles
from vault.store.role_sql import granting, making, making_owner

DATABASES, RIGHTS = "1-databases.sql", "2-rights.sql"

_DATABASES = """\
-- Roles and databases of piivault. Written by `piivault setup`; may be run again.
--
--     psql --set=ON_ERROR_STOP=1 --file=1-databases.sql postgres      as a superuser
--
-- Roles are made without passwords, and can't log in until you give them one, here in psql:
--
--     \\password "{owner}"       and so on; README.md says which process gets which
--
-- psql sends the server a verifier, so that no password stands in a log or in a history.
"""

_RIGHTS = """\
-- What each role may do. Written by `piivault setup`; may be run again.
--
-- Once the tables are there (`piivault db upgrade`), as the role that owns them:
--
--     psql --set=ON_ERROR_STOP=1 --username={owner} --file=2-rights.sql {first}
"""


def postgresql_files(compartments: Iterable[str]) -> dict[str, str]:
    """Write the files, by name. Pure; raises RoleError for names that clash."""
    wanted = roles(compartments)
    steps = [*making_owner(), *making(wanted)]
    rights = []
    for database in dict.fromkeys(role.database for role in wanted):
        rights.append(f'\n\\connect "{database}"')
        for role in (r for r in wanted if r.database == database):
            rights += [f"\n-- {role.name}: {role.rights.value}"]
            rights += [f"{statement};" for statement in granting(role.name, role.rights)]
    first = _DATABASES.format(owner=OWNER)
    second = _RIGHTS.format(owner=OWNER, first=database_of("control"))
    return {
        DATABASES: first + "\n" + "\n".join(step.psql for step in steps) + "\n",
        RIGHTS: second + "\n".join(rights) + "\n",
    }
