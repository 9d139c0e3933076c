"""Keeps Apache Kafka topics in step with a Mews property-management system, exactly once."""

__version__ = "0.1.0"
