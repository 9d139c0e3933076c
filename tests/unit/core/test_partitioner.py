"""Partitions are those of Kafka's Java client, by the C package and without it."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec

import pytest

from streamer.core import partitioner
from streamer.core.partitioner import (
    PUBLISHED_HASHES,
    SEED,
    check_partitioner,
    murmur2,
    murmur2_in_python,
    partition_of,
)
from streamer.errors import FatalError
from tests.unit.cases import cases


@cases("hash_of", [murmur2, murmur2_in_python])
@cases(("key", "signed"), PUBLISHED_HASHES.items())
def test_hashes_are_the_published_ones(hash_of: Callable[[bytes, int], int], key: bytes, signed: int) -> None:
    assert hash_of(key, SEED) == signed % 2**32


@cases(
    ("key", "partition"),
    [
        (b"21", (-973932308 & 0x7FFFFFFF) % 12),
        (b"foobar", (-790332482 & 0x7FFFFFFF) % 12),
        (b"abc", 479470107 % 12),
    ],
)
def test_a_negative_hash_loses_its_sign_bit_and_not_its_sign(key: bytes, partition: int) -> None:
    assert partition_of(key, 12) == partition


def test_one_partition_takes_all() -> None:
    assert partition_of(b"anything", 1) == 0


def test_the_hash_in_use_passes_the_check() -> None:
    check_partitioner()
    check_partitioner(murmur2_in_python)


def test_another_hash_is_a_fatal_error() -> None:
    with pytest.raises(FatalError, match="murmur2"):
        check_partitioner(lambda key, seed: murmur2(key, seed) ^ 1)


def test_without_the_package_the_hash_in_python_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "murmurhash2", None)
    source = partitioner.__spec__
    assert source is not None
    assert source.loader is not None
    anew = module_from_spec(source)
    source.loader.exec_module(anew)
    assert anew.murmur2 is anew.murmur2_in_python
    anew.check_partitioner()
