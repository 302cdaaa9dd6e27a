"""A view that shows what another shows, in another size: the same moment, crop and flip."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from avssl.config import base, override, resolve
from avssl.data.open import open_source
from avssl.data.pipeline import Pipeline
from avssl.data.placement import place_in_space
from avssl.data.views import AudioView, VideoView, build_views
from avssl.errors import UsageError

SMALL = VideoView(frames=2, fps=8.0, size=24)
LARGE = dataclasses.replace(SMALL, size=72, placed_with=SMALL)
SOUND = AudioView(seconds=0.5, rate=8000)


def test_it_shows_the_same_picture_larger():
    views = {"small": SMALL, "large": LARGE, "sound": SOUND}
    pipeline = Pipeline(open_source("world:tiny@train"), views, batch_size=8, seed=0)
    with pipeline.batches() as batches:
        batch = next(batches)
    small, large = (batch["geometry"][name] for name in ("small", "large"))
    np.testing.assert_array_equal(small["start_seconds"], large["start_seconds"])
    np.testing.assert_array_equal(small["flip"], large["flip"])
    assert 0 < small["flip"].sum() < 8
    np.testing.assert_allclose(small["box"], large["box"], atol=1 / SMALL.decode_size)
    errors = np.zeros((8, 8))
    for row, pictures in enumerate(batch["views"]["large"]):
        shrunk = Image.fromarray(pictures[0]).resize((24, 24), Image.Resampling.BOX)
        others = batch["views"]["small"][:, 0].astype(float)
        errors[row] = np.abs(others - np.asarray(shrunk)).mean(axis=(1, 2, 3))
    assert (errors.argmin(axis=1) == np.arange(8)).all()
    assert np.diag(errors).max() < errors[~np.eye(8, dtype=bool)].min() / 2


@pytest.mark.parametrize(("width", "height"), [(1626, 915), (915, 1220), (915, 915)])
@pytest.mark.parametrize("crop", ["random", "center"])
def test_crops_are_the_same_share_of_the_frame(crop, width, height):
    small = VideoView(frames=1, size=224, crop=crop, crop_area=(0.22, 1.0))
    large = dataclasses.replace(small, size=800, placed_with=small)
    assert min(width, height) == large.decode_size
    coarse = [round(side * small.decode_size / large.decode_size) for side in (width, height)]
    for position in range(200):
        draws = dict(seed=1, position=position)
        fine = place_in_space(large, frame_width=width, frame_height=height, **draws)
        seen = place_in_space(small, frame_width=coarse[0], frame_height=coarse[1], **draws)
        assert fine.flip == seen.flip
        assert min(fine.left, fine.top, width - fine.left - fine.width) >= 0
        assert fine.top + fine.height <= height
        np.testing.assert_allclose(fine.box(width, height), seen.box(*coarse), atol=1.5 / 915)


def test_draws_of_views_without_it_stay():
    assert repr(SMALL) == SMALL.placed_as == "VideoView(frames=2, fps=8.0, size=24)"
    assert LARGE.placed_as == SMALL.placed_as
    assert LARGE.evaluation() == dataclasses.replace(SMALL, size=72).evaluation()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"large.placed_with": "vidoe"}, "unknown placed_with of view 'large' 'vidoe'.*'video'"),
        ({"large.placed_with": "audio"}, "is 'audio': name a video view that is placed by itself"),
        ({"large.placed_with": "large"}, "is 'large': name a video view that is placed by itself"),
        ({"large.crop_area": (0.5, 1.0)}, r"set views.large.crop_area=\(0.08, 1.0\)"),
        ({"large.frames": 3}, "set views.large.frames=8"),
        ({"large.projection": "sphere", "large.flip": False}, "no crop to share"),
        ({"audio.placed_with": "video"}, "unknown key of view 'audio' 'placed_with'"),
    ],
)  # fmt: skip
def test_what_cannot_be_placed_so_is_refused(change, said):
    config = base()
    config.views.large = dict(modality="video", size=224, placed_with="video")
    config.encoders.video = dict(name="linear_video", modality="video")
    config.encoders.audio = dict(name="linear_audio", modality="audio")
    config.objectives.xid = dict(weight=1.0)
    kept = resolve(resolve(config))
    assert kept.views.large.placed_with == "video"
    assert build_views(kept.views.to_dict())["large"].placed_with == VideoView()
    for key, value in change.items():
        view, field = key.split(".")
        config.views[view] = dict(config.views[view].to_dict(), **{field: value})
    with pytest.raises(UsageError, match=said):
        resolve(config)
    override(kept, [("views.large.placed_with", "")])
    assert build_views(resolve(kept).views.to_dict())["large"].placed_with is None


def test_a_sound_is_mirrored_with_a_view_that_is_placed_with_another():
    views = {
        "video": dict(modality="video", size=24),
        "large": dict(modality="video", size=72, placed_with="video"),
        "audio": dict(modality="audio", channels=2, mirrored_with="large"),
    }
    built = build_views(views)
    assert built["audio"].mirrored_with == built["large"]
    assert built["large"].placed_with == built["video"]
