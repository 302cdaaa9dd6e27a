"""What a class of objects fixes: how it looks, how it moves when it sounds, and its timbre.

Nothing else about an object depends on its class: colours, size, place, tempo, pitch, loudness and
room are drawn in `scene`, where nobody asks what the object is.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Kind:
    """One class. The fields name entries of SHAPES, TEXTURES, MOTIONS and TIMBRES."""

    name: str
    shape: str
    texture: str
    motion: str
    timbre: str


# A world with n classes uses the first n, so new ones go to the end.
KINDS = (
    Kind("ball", "disc", "stripes", "bounce", "drum"),
    Kind("star", "star", "dots", "tick", "square"),
    Kind("crate", "box", "checks", "slide", "noise"),
    Kind("bell", "dome", "rim", "pendulum", "bell"),
    Kind("hoop", "ring", "spokes", "roll", "fm"),
    Kind("mallet", "cross", "grid", "hammer", "pluck"),
    Kind("rattle", "capsule", "zigzag", "shake", "clicks"),
    Kind("bird", "crescent", "blotches", "bounce", "chirp"),
    Kind("mouth", "lens", "rings", "swell", "vowel"),
    Kind("gear", "gear", "spiral", "tick", "hiss"),
)

# Seen from the side, on wheels; `passing` says how fast and how large they are.
VEHICLES = (
    Kind("car", "car", "saloon", "pass", "petrol"),
    Kind("van", "van", "cab", "pass", "diesel"),
    Kind("bus", "bus", "windows", "pass", "rumble"),
    Kind("motorcycle", "motorcycle", "saddle", "pass", "rasp"),
    Kind("tractor", "tractor", "cabin", "pass", "putter"),
)

# Persons differ in their identity, not by kind: see `persons`.
KINDS_OF = {"objects": KINDS, "vehicles": VEHICLES}
