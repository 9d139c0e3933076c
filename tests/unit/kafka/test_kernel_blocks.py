"""The kernel's batches are those of the Python path, wherever a file is cut; `tests/models` tries any lines."""

from __future__ import annotations

import pytest

from streamer.kafka import kernel_blocks
from streamer.kafka.encoded_batches import BatchFormat
from tests.unit.kafka.both_paths import ODD_FILE, ensure_same, gathered


class TestTheKernel:
    def test_makes_the_same_of_a_file_that_comes_whole_or_byte_by_byte(self) -> None:
        ensure_same([ODD_FILE])
        ensure_same([ODD_FILE[place : place + 1] for place in range(len(ODD_FILE))])

    def test_a_batch_can_be_sent_again_and_stays_as_it_is(self) -> None:
        form = BatchFormat(batch_bytes=400, zstd=False, transactional=False)
        first, _ = gathered([b'{"Id":"a"}\n'], kernel=True, form=form)
        ((batch,),) = first.batches.close().values()
        batch._set_producer_state(1, 2, 3)
        once = batch._build()
        assert bytes(batch._build()) == bytes(once)
        with memoryview(once), pytest.raises(BufferError):
            batch._set_producer_state(1, 2, 4)

    def test_an_error_in_the_judgement_is_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(_: bytes) -> None:
            raise MemoryError

        monkeypatch.setattr(kernel_blocks, "why_no_record", broken)
        with pytest.raises(MemoryError):
            gathered([b"{}\n"], kernel=True, form=BatchFormat(batch_bytes=400, zstd=False, transactional=False))
