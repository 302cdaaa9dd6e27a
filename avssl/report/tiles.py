"""A clip on the page: its frame, a button that plays its sound, and what is said of it."""

import hashlib

from avssl.report.clips import ShownClip
from avssl.report.evidence import Evidence
from avssl.report.markup import Markup, tag

MARKS = {"own": "★ own", "right": "✓", "wrong": "✗"}

# Data URIs by a name: the page's script has each of them once, however many buttons play it.
Sounds = dict[str, str]


def tile(
    evidence: Evidence,
    row: int,
    clip: ShownClip | None,
    sounds: Sounds,
    *,
    mark: str,
    below: str | None,
) -> Markup:
    """A clip of the test part with its class, or its key where it has none; its key under the pointer."""
    key = evidence.test_key(row)
    name = evidence.class_of(int(evidence.sides.test.labels[row]))
    spoken = f"{name} {key}".strip()
    frame = None
    if clip is not None and clip.frame is not None:
        frame = tag("img", src=clip.frame, alt=f"frame of {spoken}", width=128, height=128)
    said = " ".join(filter(None, (MARKS.get(mark), below)))
    words = tag("span", name or key, class_="name"), tag("span", said, class_="mark")
    shown = tag("div", frame, play_button(clip, sounds, spoken), class_="media")
    return tag("figure", shown, tag("figcaption", words), class_=f"tile {mark}", title=key)


def play_button(clip: ShownClip | None, sounds: Sounds, spoken: str) -> Markup | None:
    """Nothing for a clip without sound."""
    if clip is None or clip.sound is None:
        return None
    name = hashlib.sha256(clip.sound.encode()).hexdigest()[:12]
    sounds[name] = clip.sound
    return tag("button", type="button", class_="play", data_sound=name, aria_label=f"play {spoken}")
