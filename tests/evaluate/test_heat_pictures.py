"""Pictures of heat maps: panels, boxes where the object is, colours where the heat is."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from avssl.config import load_config, to_json
from avssl.data.open import open_source
from avssl.data.pictures import CAPTION, GAP
from avssl.data.views import VideoView
from avssl.errors import UsageError
from avssl.evaluate import heat_pictures
from avssl.evaluate import run as evaluation
from avssl.evaluate.features import Extractor
from avssl.evaluate.heat_pictures import BOX, evenly_spread, heat_sheet, save_pictures
from avssl.evaluate.localization import PICTURE_SIZE
from avssl.evaluate.places import MapOptions
from avssl.evaluate.run import Asked, evaluate_folder
from tests.conftest import TINY_CONFIG

RIGHT = np.array([[0.5, 0.25, 1.0, 0.75]])


def panels(sheet: Image.Image, number: int) -> list[np.ndarray]:
    assert sheet.size == (number * (PICTURE_SIZE + GAP) + GAP, PICTURE_SIZE + CAPTION + 2 * GAP)
    pixels, top = np.asarray(sheet), GAP + CAPTION
    return [
        pixels[top : top + PICTURE_SIZE, GAP + place * (PICTURE_SIZE + GAP) :][:, :PICTURE_SIZE]
        for place in range(number)
    ]


def test_a_sheet_shows_the_frame_and_each_map_with_its_boxes():
    frame = np.full((32, 32, 3), 100, np.uint8)
    frame[:, :16] = (200, 0, 0)
    heat = np.repeat(np.array([[0.0, 0.0, 1.0, 1.0]]), 4, axis=0)
    sheet = heat_sheet(
        frame, {"video": heat, "objects": np.ones((4, 4))}, RIGHT, caption="clip", consensus=1,
        options=MapOptions(),
    )  # fmt: skip
    seen, sounding, everywhere = panels(sheet, 3)
    for panel in (seen, sounding, everywhere):
        lines = np.argwhere((panel == BOX).all(axis=-1))
        # The top and bottom of the box and its sides, to a pixel.
        np.testing.assert_allclose(lines.min(axis=0), [56, 112], atol=2)
        np.testing.assert_allclose(lines.max(axis=0), [167, 223], atol=2)
    inside, outside = (slice(80, 140), slice(140, 200)), (slice(80, 140), slice(20, 80))
    assert (seen[outside] == (200, 0, 0)).all()
    assert sounding[inside].mean() > sounding[outside].mean() + 50
    assert abs(everywhere[inside].mean() - everywhere[outside].mean()) < 30, "it points nowhere"


def test_few_pictures_are_spread_over_all():
    np.testing.assert_array_equal(evenly_spread(np.arange(5), 9), np.arange(5))
    np.testing.assert_array_equal(evenly_spread(np.array([3, 4, 7, 8, 9]), 3), [3, 7, 9])


def test_pictures_are_those_of_the_clips_with_boxes_as_the_encoder_sees_them(tmp_path, monkeypatch):
    monkeypatch.setattr(heat_pictures, "NUM_PICTURES", 3)
    source, rows = open_source("world:tiny@test"), np.arange(2, 10)
    view = VideoView(frames=2, fps=4.0, size=32)
    with Extractor.batches(
        SimpleNamespace(model=SimpleNamespace(views={"frames": view.evaluation()}), batch_size=8),
        source, rows, 0,
    ) as batches:  # fmt: skip
        batch = next(batches)
    test = SimpleNamespace(
        outputs={"seen": {"video_map": np.random.default_rng(0).random((8, 4, 4))}},
        index=batch["index"], geometry=batch["geometry"],
    )  # fmt: skip
    sides = SimpleNamespace(test=test, scored=(source, rows), workers=0)
    model = SimpleNamespace(
        objectives={"seen": SimpleNamespace(video_view="frames")}, views={"frames": view}
    )
    save_pictures(model, sides, tmp_path / "maps", MapOptions())
    written = sorted((tmp_path / "maps").iterdir())
    assert [path.name for path in written] == [f"seen-{row:06d}.png" for row in (2, 5, 9)]
    frame = batch["views"]["frames"][3, 1]
    seen = panels(Image.open(written[1]), 2)[0]
    expected = Image.fromarray(frame).resize((PICTURE_SIZE,) * 2, Image.Resampling.BICUBIC)
    different = (seen != np.asarray(expected)).any(axis=-1).mean()
    assert different < 0.1, "but for the boxes"


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ([], None),
        ([""], "."),
        (["."], "."),
        (["maps"], "maps"),
        (["--json", "a"], "{run}/heat_maps"),
    ],
)
def test_where_pictures_are_put(words, folder, run, tmp_path, monkeypatch):
    """Without a folder into the run's; this one, too, is a folder that can be named."""
    given = []

    def evaluate_folder(workdir, asked, *, pictures, **keys):
        given.append(pictures)
        return [None]

    monkeypatch.setattr(evaluation, "evaluate_folder", evaluate_folder)
    (tmp_path / "config.json").write_text(json.dumps(to_json(load_config(TINY_CONFIG))))
    flags = ["--save-visualizations", *words] if folder else words
    assert run("evaluate", "--workdir", tmp_path, *flags)[0] == 0
    assert given == [folder and Path(folder.format(run=tmp_path))]


def test_options_without_the_protocol_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"eval": {"protocols": ["knn"]}}')
    for asked, pictures in (
        (Asked(maps=MapOptions(share=0.4)), None),
        (Asked(object_encoder="somewhere"), None),
        (Asked(), Path("somewhere")),
    ):
        with pytest.raises(UsageError, match="are for the protocol localization"):
            evaluate_folder(tmp_path, asked, pictures=pictures)
