"""Chaos as a command: ``python -m tests.chaos --minutes 3 --seed 1``."""
