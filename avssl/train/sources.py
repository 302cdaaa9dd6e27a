"""The data of a config, read through the local cache that it asks for."""

from avssl.config import ConfigDict
from avssl.console import warn
from avssl.data.local import LocalCache, keep_locally
from avssl.data.open import open_source
from avssl.data.record import Source
from avssl.errors import UsageError


def local_cache(config: ConfigDict) -> LocalCache | None:
    folder = config.data.get("local_cache")
    return LocalCache(folder, config.data.local_cache_gib) if folder else None


def open_data(config: ConfigDict, spec: str, *, needs_cache: bool = True) -> Source:
    """needs_cache: refuses a cache that cannot be. An evaluation on another machine goes on without."""
    source = open_source(spec)
    try:
        if cache := local_cache(config):
            keep_locally(source, cache)
    except UsageError as error:
        if needs_cache:
            raise
        warn(f"{error}; going on without")
    return source
