"""What it costs to gather lines that are held against their schema, veiled, or of which some are kept out.

`python -m benchmarks.prepare_benchmark`

Processor time of one core for a line, the best of several rounds in turn; nothing is sent.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from streamer.contract.entities import ENTITIES
from streamer.contract.shape import Shape
from streamer.core.blocks import FileBlocks, FileToGather, Preparation
from streamer.core.checkpoint import Erased
from streamer.core.erasing import Erasure
from streamer.core.record_format import EncodedHeaders
from streamer.core.veil import Veil
from streamer.metrics import Metrics
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey
from streamer.sandbox.entities import PAGE_LINES, Numbers, page
from streamer.service.preparing import KeepingOut, LineRules

STREAM = StreamKey(ConnectionName("alpine"), EntityType.CUSTOMER)
EXPORT = ExportId("e1")
LINES = 20 * PAGE_LINES
CHUNK = 256 * 1024
ROUNDS = 15
ERASURE = Erasure(b"k" * 32)


class Nowhere:
    """Takes records and forgets them."""

    def append(self, partition: int, key: bytes, value: bytes, headers: EncodedHeaders) -> None:
        pass


def noon(entities: Numbers) -> Numbers:
    return 1_767_268_800 + entities % 60


def rules(*, shape: bool = False, veil: Veil | None = None) -> Preparation | None:
    struct = Shape(ENTITIES[STREAM.entity_type]) if shape else None
    made = LineRules(shape=struct, unfit_is_dead=False, veil=veil)
    return made.for_export(STREAM, EXPORT, Metrics().stream(STREAM))


def microseconds_a_line(data: bytes, preparation: Preparation | None) -> float:
    file = FileToGather(
        export_id=EXPORT,
        stream=STREAM,
        index=0,
        partitions=12,
        max_line_bytes=1_000_000,
        max_record_bytes=1_000_000,
        headers=True,
    )
    blocks = FileBlocks(file, Nowhere, preparation=preparation)
    began = time.process_time()
    for start in range(0, len(data), CHUNK):
        blocks.feed(data[start : start + CHUNK])
    blocks.finish()
    assert blocks.take().records == LINES
    return (time.process_time() - began) / LINES * 1e6


def main() -> None:
    made = page(STREAM.entity_type.value, 1)
    data = b"".join(made.read(0, made.offset_of(LINES), noon))
    ways = {
        "as it comes": rules(),
        'validate = "warn"': rules(shape=True),
        "three fields dropped": rules(veil=Veil(dropped=["Notes", "Passport", "Visa"])),
        "three fields hashed": rules(veil=Veil(hashed=["Email", "Phone", "LastName"], key=b"key")),
        "somebody kept out": KeepingOut(ERASURE, {ERASURE.hash(b"x"): Erased(datetime.now(UTC), ERASURE.mark)}, None),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, preparation in ways.items():
            best[name] = min(best[name], microseconds_a_line(data, preparation))
    print(f"microseconds a line of {len(data) // LINES} bytes")
    for name, result in best.items():
        print(f"{name:22} {result:6.1f}")


if __name__ == "__main__":
    main()
