"""Databases of a compartment and who writes to them; a house of a test's own and its officers."""

from tests.backups import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.committing import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.database import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.office import *  # noqa: F403 -- fixtures, as named in its __all__
