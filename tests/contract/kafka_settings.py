"""Settings for a real broker, with names that only one test has."""

from __future__ import annotations

from datetime import timedelta

from streamer.config import Config, ConnectionConfig, TopicsConfig
from streamer.model import ConnectionName, EntityType, Secret
from tests.brokers import Kafka
from tests.secured import kafka_config


def settings_for(kafka: Kafka, prefix: str, *, topics: dict[str, dict[str, str]] | None = None) -> Config:
    """One connection with bills alone; ``topics`` are settings of topics by the last part of their names."""
    return Config(
        kafka=kafka_config(
            kafka.bootstrap_servers,
            session_timeout=timedelta(seconds=3),
            transaction_timeout=timedelta(seconds=20),
        ),
        topics=TopicsConfig(
            prefix=prefix, partitions=3, config={f"{prefix}.{name}": values for name, values in (topics or {}).items()}
        ),
        connections=(
            ConnectionConfig(
                name=ConnectionName("alpine"),
                platform_url="https://api.mews.com",
                client_token=Secret("client-canary"),
                access_token=Secret("access-canary"),
                entity_types=(EntityType.BILL,),
            ),
        ),
    )
