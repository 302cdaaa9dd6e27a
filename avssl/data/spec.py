"""Spec strings: one line that says where data comes from.

world:NAME   folder:PATH   images:PATH   manifest:FILE.csv   tfds:PATH
ucf101:PATH@trainlist01 ...  a published data set in its official layout, see `DATA_SETS`
...@SPLIT    a split, or a part of one: tfds:PATH@train[:90%]
A*3+B        a mix: three draws from A for one from B
"""

import dataclasses
import math
import re

from avssl.errors import UsageError, unknown

KINDS = {
    "world": "world:NAME",
    "folder": "folder:PATH",
    "images": "images:PATH",
    "manifest": "manifest:FILE.csv",
    "tfds": "tfds:PATH",
}
# Published data sets in their official layouts; `avssl.data.sources.published` opens them.
DATA_SETS = {
    "activitynet": "activitynet:PATH@training",
    "audioset": "audioset:PATH@balanced_train_segments",
    "dcase2017": "dcase2017:PATH@training_set",
    "dcase2018": "dcase2018:PATH@weak",
    "esc10": "esc10:PATH@train1",
    "esc50": "esc50:PATH@train1",
    "flickr_soundnet": "flickr_soundnet:PATH@flickr_test",
    "hmdb51": "hmdb51:PATH@train1",
    "kinetics": "kinetics:PATH@train",
    "mavd": "mavd:PATH@train_all",
    "places365": "places365:PATH@train_standard",
    "sun397": "sun397:PATH@Training_01",
    "ucf101": "ucf101:PATH@trainlist01",
    "ucf51": "ucf51:PATH@trainlist01",
    "vggsound": "vggsound:PATH@train",
    "vggss": "vggss:PATH@vggss_test",
    "voc2007": "voc2007:PATH@trainval",
    "voxceleb": "voxceleb:PATH@veri_test2",
    "yt360": "yt360:PATH@train",
}

# Only a plus before `kind:` separates parts: file names and sub-splits hold plus signs of their
# own.
_SEPARATOR = re.compile(r"\+(?=\s*[A-Za-z_][A-Za-z0-9_]*:)")
_WEIGHT = re.compile(r"\*\s*(-?[0-9.]+(?:[eE][-+]?[0-9]+)?)$")


@dataclasses.dataclass(frozen=True)
class Part:
    """One source of a spec: its kind, where it lies, which split, and its weight in the mix."""

    kind: str
    path: str
    split: str | None = None
    weight: float = 1.0

    @property
    def spec(self) -> str:
        """The part as it is written, without its weight."""
        return f"{self.kind}:{self.path}" + (f"@{self.split}" if self.split is not None else "")


def parse(spec: str) -> tuple[Part, ...]:
    """The parts of a spec string; whether they exist is not looked at."""
    if not spec.strip():
        raise UsageError(f"the data source is empty; write {_forms()}")
    return tuple(_parse_part(text.strip(), spec) for text in _SEPARATOR.split(spec))


def _parse_part(text: str, spec: str) -> Part:
    weight = 1.0
    if found := _WEIGHT.search(text):
        weight = _weight(found.group(1), text)
        text = text[: found.start()].rstrip()
    kind, colon, path = text.partition(":")
    if not colon:
        raise UsageError(f"data source '{text}' does not say its kind; write {_forms()}")
    forms = KINDS | DATA_SETS
    if kind not in forms:
        raise unknown("kind of data source", kind, forms)
    split = None
    head, at, tail = path.rpartition("@")
    if at and "/" not in tail:
        path, split = head, tail
        if not split:
            raise UsageError(f"data source '{text}' ends in '@'; name the split after it")
    if not path:
        raise UsageError(f"data source '{spec}' names nothing after '{kind}:'; write {forms[kind]}")
    return Part(kind, path, split, weight)


def _weight(number: str, text: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not (weight > 0 and math.isfinite(weight)):
        raise UsageError(f"the weight in '{text}' must be a number above 0")
    return weight


def _forms() -> str:
    return ", ".join(KINDS.values())
