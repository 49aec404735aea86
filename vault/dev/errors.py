"""The one error of this room."""


class DevError(Exception):
    """The stack can't start or go on; the message says why and what to do."""
