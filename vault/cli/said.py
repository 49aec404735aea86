"""What a person can act on, whatever room it comes from: said in words, without a traceback."""

from piivault.errors import PiivaultError

from vault.audit.export import ExportError
from vault.audit.signed import CheckpointError
from vault.config import ConfigError
from vault.dev import DevError
from vault.errors import VaultError
from vault.keys.errors import KeyServerError
from vault.opening import StartError
from vault.policy import EditionError
from vault.service.ledger import ControlChainError
from vault.service.prune import PruneError
from vault.service.verify_chains import NoTrailError
from vault.store.backup_file import BackupError
from vault.store.rights import RoleError
from vault.store.schema import SchemaError

_SAID = (
    BackupError,
    CheckpointError,
    ConfigError,
    ControlChainError,
    DevError,
    EditionError,
    ExportError,
    KeyServerError,
    NoTrailError,
    PiivaultError,
    PruneError,
    RoleError,
    SchemaError,
    StartError,
)


def said(error: Exception) -> str | None:
    """Say what went wrong; None where nobody could do anything about it."""
    if isinstance(error, VaultError):
        return error.message
    if isinstance(error, _SAID):
        return str(error)
    if isinstance(error, OSError):  # a file that isn't there, or a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or type(error).__name__}"
    return None
