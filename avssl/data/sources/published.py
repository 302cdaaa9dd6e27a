"""The readers of published data sets by the kind in a spec string; `spec.DATA_SETS` has their forms."""

from collections.abc import Callable

from avssl.data.sources.audioset import open_audioset
from avssl.data.sources.esc50 import open_esc10, open_esc50
from avssl.data.sources.flickr_soundnet import open_flickr_soundnet
from avssl.data.sources.official import OfficialSource
from avssl.data.sources.ucf101 import open_ucf51, open_ucf101
from avssl.data.sources.vggsound import open_vggsound
from avssl.data.sources.vggss import open_vggss

# (folder, split or None) -> the source.
OPENERS: dict[str, Callable[[str, str | None], OfficialSource]] = {
    "audioset": open_audioset,
    "esc10": open_esc10,
    "esc50": open_esc50,
    "flickr_soundnet": open_flickr_soundnet,
    "ucf101": open_ucf101,
    "ucf51": open_ucf51,
    "vggsound": open_vggsound,
    "vggss": open_vggss,
}
