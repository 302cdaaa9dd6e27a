"""The one error that this room raises about a file."""


class MediaError(Exception):
    """A file cannot be used, and why, in a few words. Whoever knows the file's name adds it."""
