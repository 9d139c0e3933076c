"""Programs that some tests need besides Kafka: archives from Maven Central, held to their hashes, unpacked once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from jgo.maven import MavenContext


class Archive(NamedTuple):
    """A ``tar.gz`` at Maven Central."""

    group: str
    name: str
    version: str
    classifier: str
    sha256: str


def unpacked(archive: Archive) -> Path:
    """The folder with what is in the archive; fetched the first time, which for large ones takes a minute."""
    cache = Path(MavenContext().repo_cache)
    folder = cache / ".streamer-unpacked" / f"{archive.name}-{archive.version}-{archive.sha256[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several runs of the tests at once: one fetches, the others find it there.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _unpack(_fetched(archive), folder)
    return folder


def _fetched(archive: Archive) -> Path:
    component = MavenContext().project(archive.group, archive.name).at_version(archive.version)
    path = Path(component.artifact(archive.classifier, "tar.gz").resolve())
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != archive.sha256:
        path.unlink()
        raise RuntimeError(f"{path.name} is not the file that it should be (SHA-256 {actual}) and was not unpacked")
    return path


def _unpack(path: Path, folder: Path) -> None:
    """All of it or nothing: a run that is stopped meanwhile leaves no folder that looks whole."""
    beside = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        with tarfile.open(path) as tar:
            tar.extractall(beside, filter="data")
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
