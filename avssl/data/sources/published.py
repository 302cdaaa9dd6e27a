"""The readers of published data sets by the kind in a spec string; `spec.DATA_SETS` has their forms."""

from collections.abc import Callable

from avssl.data.sources.activitynet import open_activitynet
from avssl.data.sources.audioset import open_audioset
from avssl.data.sources.dcase import open_dcase2017, open_dcase2018
from avssl.data.sources.esc50 import open_esc10, open_esc50
from avssl.data.sources.flickr_soundnet import open_flickr_soundnet
from avssl.data.sources.hmdb51 import open_hmdb51
from avssl.data.sources.kinetics import open_kinetics
from avssl.data.sources.mavd import open_mavd
from avssl.data.sources.official import OfficialSource
from avssl.data.sources.places365 import open_places365
from avssl.data.sources.sun397 import open_sun397
from avssl.data.sources.ucf101 import open_ucf51, open_ucf101
from avssl.data.sources.vggsound import open_vggsound
from avssl.data.sources.vggss import open_vggss
from avssl.data.sources.voc2007 import open_voc2007
from avssl.data.sources.voxceleb import open_voxceleb
from avssl.data.sources.yt360 import open_yt360

# (folder, split or None) -> the source.
OPENERS: dict[str, Callable[[str, str | None], OfficialSource]] = {
    "activitynet": open_activitynet,
    "audioset": open_audioset,
    "dcase2017": open_dcase2017,
    "dcase2018": open_dcase2018,
    "esc10": open_esc10,
    "esc50": open_esc50,
    "flickr_soundnet": open_flickr_soundnet,
    "hmdb51": open_hmdb51,
    "kinetics": open_kinetics,
    "mavd": open_mavd,
    "places365": open_places365,
    "sun397": open_sun397,
    "ucf101": open_ucf101,
    "ucf51": open_ucf51,
    "vggsound": open_vggsound,
    "vggss": open_vggss,
    "voc2007": open_voc2007,
    "voxceleb": open_voxceleb,
    "yt360": open_yt360,
}
