"""What holds for every test: properties are tried without a clock, and the same each time."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")
