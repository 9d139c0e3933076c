"""Requests whose answers are held back until somebody releases them."""

import asyncio

import msgspec


class Held(msgspec.Struct, frozen=True):
    id: int
    on: str
    entity_type: str | None
    export_id: str | None
    file_index: int | None


class HeldRequests:
    def __init__(self) -> None:
        self._held: dict[int, tuple[Held, asyncio.Event]] = {}
        self._last = 0
        self._arrived = asyncio.Event()

    async def hold(
        self,
        on: str,
        entity_type: str | None = None,
        export_id: str | None = None,
        file_index: int | None = None,
    ) -> None:
        """Returns when released. A client that leaves meanwhile is no longer listed."""
        self._last += 1
        held, released = Held(self._last, on, entity_type, export_id, file_index), asyncio.Event()
        self._held[held.id] = held, released
        self._arrived.set()
        self._arrived = asyncio.Event()
        try:
            await released.wait()
        finally:
            self._held.pop(held.id, None)

    def listed(self) -> list[Held]:
        return [held for held, _ in self._held.values()]

    async def wait_for(self, count: int) -> list[Held]:
        while len(self._held) < count:
            await self._arrived.wait()
        return self.listed()

    def release(self, held_id: int | None = None) -> int:
        """Releases one, or all; how many that were."""
        chosen = list(self._held) if held_id is None else [held_id] if held_id in self._held else []
        for each in chosen:
            self._held.pop(each)[1].set()
        return len(chosen)
