"""An export whose files are being read, asked for again: for fresh links, and to see that it still is the same."""

from __future__ import annotations

from streamer.core.files import file_list
from streamer.core.states import Publishing, Reconciling
from streamer.errors import ExportLostError, RetriableError
from streamer.model import Export, ExportStatus
from streamer.service.reading import Links


async def fetch_again(links: Links, state: Publishing | Reconciling) -> Export:
    """The export with fresh links, if it still is what publishing began with.

    Raises ``ExportLostError`` where it isn't, ``RetriableError``, ``AccessRefusedError``.
    """
    # One answer without it can be a hiccup (a 204 is nothing but one); a new export takes hours.
    export = await links.fetch(state.export_id) or await links.fetch(state.export_id)
    if export is None:
        raise ExportLostError("Mews does not know the export any more", expired=True)
    match export.status:
        case ExportStatus.SUCCESS:
            pass
        case ExportStatus.EXPIRED:
            raise ExportLostError("the export expired before it was published", expired=True)
        case ExportStatus.FAILED:
            raise ExportLostError("the export failed while it was being published")
        case _:
            status = export.raw_status or export.status.value
            raise RetriableError(f"the export's files are not ready any more (status {status})")
    if file_list(export.files) != state.files:
        raise ExportLostError("the export's files are not those that publishing began with")
    return export
