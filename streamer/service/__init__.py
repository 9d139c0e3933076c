"""What runs for months: the loop of each stream over its ports, and the supervisor of them all."""
