"""Pictures as records: each a video of one frame, which every frame of a view shows, and without sound."""

import os

import numpy as np

from avssl.data.sources.files import media_at
from avssl.data.sources.shelf import PICTURE_SUFFIXES
from avssl.media.still import STILL_SECONDS, as_video

# What a record of a picture says of itself, so that nobody opens it to find out.
STILL = {"duration_seconds": STILL_SECONDS, "has_video": True, "has_audio": False}


def is_picture(name: str) -> bool:
    """By its name: a data set's pictures are called what they are."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def still_at(root: str, relative: str) -> bytes:
    """What a record's `media` holds of a JPEG or PNG."""
    return as_video(media_at(root, relative))


def modalities_of_stills(num_records: int) -> tuple[np.ndarray, np.ndarray]:
    return np.ones(num_records, bool), np.zeros(num_records, bool)
