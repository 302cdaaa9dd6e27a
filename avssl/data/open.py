"""From a spec string to the source it names."""

from avssl.data.record import Source
from avssl.data.sources.folder import FolderSource
from avssl.data.sources.manifest import ManifestSource
from avssl.data.sources.mix import MixedSource
from avssl.data.sources.published import OPENERS
from avssl.data.sources.tfds import TfdsSource
from avssl.data.spec import Part, parse
from avssl.errors import UsageError


def open_source(spec: str, *, allow_outside: bool = False) -> Source:
    """The source that a spec string names; for a mix a MixedSource, whose `parts` are the sources.

    A world that is not in the cache yet is generated. `allow_outside` lets manifests name files
    outside their folder. UsageError says what is wrong with a spec, or with what lies where it
    points.
    """
    parts = parse(spec)
    try:
        sources = [_open_part(part, allow_outside) for part in parts]
    except ImportError as error:
        # Bucket paths need the file system of that store, which is no dependency of ours.
        raise UsageError(f"'{spec}' cannot be opened: {error}") from error
    if len(sources) == 1:
        return sources[0]
    weights = [part.weight for part in parts]
    return MixedSource(tuple(zip(sources, weights, strict=True)), spec)


def open_checked(spec: str, *, allow_outside: bool = False) -> Source:
    """The same for who reads all of it: each shard of a built set is checked before any record is read."""
    source = open_source(spec, allow_outside=allow_outside)
    for part, _ in getattr(source, "parts", ((source, 1.0),)):
        if isinstance(part, TfdsSource):
            part.check_shards()
    return source


def _open_part(part: Part, allow_outside: bool) -> Source:
    match part.kind:
        case "folder":
            return FolderSource(part.path, part.split)
        case "images":
            return FolderSource(part.path, part.split, stills=True)
        case "manifest":
            return ManifestSource(part.path, part.split, allow_outside=allow_outside)
        case "tfds":
            return TfdsSource(part.path, part.split)
        case kind if kind in OPENERS:
            return OPENERS[kind](part.path, part.split)
        case _:
            # The generator and its codecs are not needed for anything else.
            from avssl.data.sources.world import open_world

            return open_world(part.path, part.split)
