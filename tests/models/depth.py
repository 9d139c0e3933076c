"""How far the properties look."""

from hypothesis import settings

DEEPER = settings(max_examples=max(60, settings().max_examples))
"""More examples than the unit tests', where a profile doesn't ask for more still."""
