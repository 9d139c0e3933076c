"""The files of an export as the checkpoint remembers them: by position, name and size, never by link."""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

from streamer.core.states import FileList, Position
from streamer.model import ExportFile


def file_list(files: Sequence[ExportFile]) -> FileList:
    """What the checkpoint keeps of the list: enough to see whether it is still the same."""
    identity = "\n".join(f"{i} {file.name} {file.size}" for i, file in enumerate(files))
    return FileList(
        count=len(files),
        size=sum(file.size for file in files),
        digest=xxhash.xxh3_64_hexdigest(identity.encode()),
    )


def first_position(files: Sequence[ExportFile]) -> Position:
    """Where publishing begins."""
    return start_of(files, 0)


def start_of(files: Sequence[ExportFile], index: int) -> Position:
    """The first byte of a file; past the last file, the end of the export."""
    if index >= len(files):
        return Position(file=index)
    return Position(file=index, name=files[index].name, size=files[index].size)
