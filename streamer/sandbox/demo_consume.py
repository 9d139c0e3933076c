"""`python -m streamer.sandbox.demo_consume BROKER TOPIC [N]`: the first N committed records of a topic, as lines.

What the demo offers for a look at its topics: Kafka's own console consumer is in a jar that nothing else needs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

import click

from streamer.errors import FatalError
from streamer.sandbox.demo_reader import first_records


def _headers(headers: Iterable[tuple[str, bytes]]) -> str:
    return ",".join(f"{name}={value.decode(errors='replace')}" for name, value in headers)


@click.command()
@click.argument("broker")
@click.argument("topic")
@click.argument("count", type=click.IntRange(1), default=5)
def consume(broker: str, topic: str, count: int) -> None:
    """Prints partition, offset, key, headers and value of records, separated by tabs."""
    try:
        records = asyncio.run(first_records(broker, topic, count))
    except FatalError as error:
        raise click.ClickException(str(error)) from None
    for record in records:
        key, value = record.key or b"", record.value or b""
        fields = (b"%d" % record.partition, b"%d" % record.offset, key, _headers(record.headers).encode(), value)
        sys.stdout.buffer.write(b"\t".join(fields) + b"\n")


if __name__ == "__main__":
    consume()
