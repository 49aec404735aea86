"""The whole stack on one machine, for development, the demo and the tests.

Real parts throughout: OpenBao with its PKI engine, AppRoles and policies; SQLite files, or
PostgreSQL. Nothing here is for production: the key server's root token lies in the state folder.
"""

from vault.dev.errors import DevError
from vault.dev.plan import Plan
from vault.dev.stack import Part, Running, Stack

__all__ = ["DevError", "Part", "Plan", "Running", "Stack"]
