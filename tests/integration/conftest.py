"""Databases of a compartment, who writes to them and audits them; a house of a test's own."""

from tests.auditing import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.backups import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.committing import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.database import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.officers import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.rotated import *  # noqa: F403 -- fixtures, as named in its __all__
from tests.written import *  # noqa: F403 -- fixtures, as named in its __all__
