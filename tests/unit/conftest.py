"""What holds for all unit tests."""

from hypothesis import settings

# A loaded machine is slow at times; what has to be fast is measured where it matters.
settings.register_profile("wgbind", deadline=None)
settings.load_profile("wgbind")
