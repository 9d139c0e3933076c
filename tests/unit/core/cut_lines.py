"""Lines as a cutter finds them, and as the rules say they are."""

from streamer.core.lines import LineCutter, Lines, LongLine, is_utf8

BOM = b"\xef\xbb\xbf"
Found = tuple[int, int, bytes, int, bool]


def told(run: Lines | LongLine) -> list[Found]:
    """Every line of a run: number, offset, bytes without line ending, length, and whether it was too long."""
    if isinstance(run, LongLine):
        return [(run.line, run.offset, run.head, run.length, True)]
    found: list[Found] = []
    offset = run.offset
    assert run.is_utf8 == all(is_utf8(raw) for raw in run.raw)
    for number, raw in enumerate(run.raw, run.line):
        assert run.has_returns or not raw.endswith(b"\r")
        line = raw.removesuffix(b"\r")
        found.append((number, offset, line, len(line), False))
        offset += len(raw) + 1
    return found


def cut(pieces: list[bytes], *, limit: int = 1000, offset: int = 0, line: int = 0) -> list[Found]:
    cutter = LineCutter(offset=offset, line=line, max_line_bytes=limit)
    found = [line for piece in pieces for run in cutter.feed(piece) for line in told(run)]
    found += [line for run in cutter.finish() for line in told(run)]
    assert cutter.offset == offset + sum(map(len, pieces))
    assert cutter.line == line + len(found)
    return found


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def expected(data: bytes, *, limit: int) -> list[Found]:
    """The rules once more, slow and plain."""
    offset = len(BOM) if data.startswith(BOM) else 0
    lines = data[offset:].split(b"\n")
    if not lines[-1]:
        lines.pop()
    found: list[Found] = []
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix(b"\r")
        found.append((number, offset, line[:limit], len(line), len(line) > limit))
        offset += len(raw) + 1
    return found
