"""How deep below the top of its encoder each parameter lies: for learning rates that fall layer by layer."""

import re
from collections.abc import Iterable

from avssl.errors import UsageError

_PICTURES = (r"(?:conv1|norm1)/", r"layer(\d+)_\d+/")
_CLIPS = (r"stem(?:_norm)?/", r"layer(\d+)_\d+/")
_VGG = (r"trunk/conv(\d+)_\d+/",)
# A scan has all blocks in one array, of which no part has a rate of its own: it is not found here.
_VIT = (r"patches/", r"blocks/block(\d+)/", r"norm/")
_DETR = (
    *(f"backbone/{stage}" for stage in _PICTURES), r"projection/", r"encoder(\d+)/", r"queries$",
    r"decoder(\d+)/", r"(?:norm|classes|box\d)/",
)  # fmt: skip
_SOUNDNET = (r"(?:conv|norm)(\d+)/",)
# How the parameters of each stage begin, from the input on; stages of one expression are in the order of
# their numbers. Blocks of a stage count as one.
STAGES: dict[str, tuple[str, ...]] = {
    "cnn14": (r"norm0/", r"block(\d+)_\d+/", r"linear/"),
    "conv2d10": (r"stem/", r"conv(\d+)x/"),
    "detr_resnet50_video": _DETR,
    "l3_audio": _VGG,
    "l3_video": _VGG,
    "linear_audio": (r"patches/",),
    "linear_video": (r"patches/",),
    "mc3_18": _CLIPS,
    "r2plus1d18": (r"stem/", r"conv(\d+)x_\d+/"),
    "r2plus1d18_torchvision": _CLIPS,
    "r3d_18": _CLIPS,
    "resdavenet": _PICTURES,
    "resnet18_audio": _PICTURES,
    "resnet18_video": _PICTURES,
    "resnet34_audio": _PICTURES,
    "resnet34_video": _PICTURES,
    "resnet50_audio": _PICTURES,
    "resnet50_video": _PICTURES,
    "resnet9_audio": _PICTURES,
    "small_audio": (r"layer(\d+)/",),
    "small_video": (r"stem/", r"layer(\d+)/", r"temporal/"),
    "soundnet5": _SOUNDNET,
    "soundnet8": _SOUNDNET,
    "speaker_resnet34": (*_PICTURES, r"linear/"),
    "vgg16_video": (*_VGG, r"linear(\d+)/"),
    "vggish_audio": _VGG,
    "vit_audio": _VIT,
    "vit_video": _VIT,
}


def stage_depths(kind: str, paths: Iterable[str]) -> dict[str, int]:
    """1 for the parameters of the last stage, 2 for those before it ...; `paths` lie within the encoder."""
    places = {path: _place(kind, path) for path in paths}
    ordered = sorted(set(places.values()))
    return {path: len(ordered) - ordered.index(place) for path, place in places.items()}


def _place(kind: str, path: str) -> tuple[int, int]:
    for order, pattern in enumerate(STAGES.get(kind, ())):
        if match := re.match(pattern, path):
            return order, int(match[1]) if match.lastindex else 0
    raise UsageError(
        f"optimizer.layer_decay does not know in which layer of the encoder '{kind}' its parameter '{path}' "
        f"is: set it to None, or take one of {', '.join(STAGES)}"
    )
