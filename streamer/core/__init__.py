"""Everything that decides: lines, records, blocks, waits; no I/O, no clock, no asyncio."""
