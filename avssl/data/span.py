"""Which part of its file a record is."""

from avssl.data.record import Record
from avssl.media.errors import MediaError


def span_in_file(record: Record, file_seconds: float) -> tuple[float, float]:
    """(start, end) of the record in seconds of its file; MediaError where the file ends before."""
    start, end = record.start_seconds, file_seconds
    if record.end_seconds is not None:
        end = min(end, record.end_seconds)
    if end <= start:
        raise MediaError(f"starts at {start:g} s, but its file ends at {file_seconds:g} s")
    return start, end
