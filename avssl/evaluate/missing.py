"""What an official list names and the disk lacks: a score on the rest has another denominator."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from avssl.console import say
from avssl.data.keys import printable
from avssl.data.record import Source
from avssl.data.sources.official import NOT_ON_DISK, NUM_NAMED
from avssl.evaluate.rows import write_whole


def tell_missing(sources: Sequence[Source], file: Path) -> list[str]:
    """Says of each source how many records are missing, the first of them and over how many results are.

    All names go to `file`; without any, what an earlier evaluation wrote there is removed.
    """
    told, names = [], []
    for source in distinct_parts(sources):
        lost = [key for key, reason in getattr(source, "skipped", ()) if reason == NOT_ON_DISK]
        if not lost:
            continue
        names += [f"{source.spec}: {printable(key)}" for key in lost]
        first = printable(", ".join(lost[:NUM_NAMED])) + (", ..." if len(lost) > NUM_NAMED else "")
        told.append(
            f"{source.spec}: {len(lost)} of {len(source) + len(lost)} records are not on disk ({first}); "
            f"results are over {len(source)}"
        )
    if names:
        write_whole(file, "\n".join(names) + "\n", "give another place with --json")
    else:
        file.unlink(missing_ok=True)
    for line in told:
        say(f"{line}; all names are in {file}")
    return told


def distinct_parts(sources: Sequence[Source]) -> Iterator[Source]:
    """The sources themselves, and instead of a mix its parts; each once."""
    seen: set[str] = set()
    for source in sources:
        for part, _ in getattr(source, "parts", ((source, 1.0),)):
            if part.spec not in seen:
                seen.add(part.spec)
                yield part
