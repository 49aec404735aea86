"""Settings for all properties: a busy machine is no reason to fail."""

from hypothesis import settings

settings.register_profile("piivault", deadline=None)
settings.load_profile("piivault")
