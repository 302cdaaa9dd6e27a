"""The one error that this room raises about a file."""


class MediaError(Exception):
    """A file cannot be used, and why, in a few words. Whoever knows the file's name adds it."""


class MissingTrackError(MediaError):
    """The file has no track of the kind that was asked for; it may be good for the other."""
