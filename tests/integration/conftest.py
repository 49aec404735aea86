"""Databases of a compartment, and who writes to them, for the tests of the store."""

from tests.backups import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.committing import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.database import *  # noqa: F403 -- fixtures, as named in its __all__
