"""Heat maps on the page: a pair of pictures for each clip, with the boxes that are known."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from avssl.data.open import open_source
from avssl.data.pipeline import evaluation_batches
from avssl.data.views import VideoView
from avssl.report import heat as drawing
from avssl.report.heat import SHOWN_SIZE, has_maps, heat
from tests.report.folders import Page

VIEW = VideoView(frames=2, fps=4.0, size=32).evaluation()
ROWS = np.arange(2, 10)


def evidence_of(spec: str):
    """Of some clips and an objective whose maps are hot on the right."""
    source = open_source(spec)
    with evaluation_batches(source, {"frames": VIEW}, batch_size=8, indices=ROWS) as batches:
        batch = next(batches)
    maps = np.tile(np.linspace(0, 1, 4), (8, 4, 1))
    test = SimpleNamespace(
        outputs={"seen": {"video_map": maps}, "blind": {}}, index=batch["index"], labels=batch["label"],
        geometry=batch["geometry"],
    )  # fmt: skip
    read = SimpleNamespace(view="frames")
    model = SimpleNamespace(
        objectives=dict.fromkeys(("seen", "blind"), SimpleNamespace(video_view="frames")),
        views={"frames": VIEW},
    )
    return SimpleNamespace(
        sides=SimpleNamespace(test=test, scored=(source, ROWS), workers=0), model=model,
        extractor=SimpleNamespace(model=model, first_view={"video": read}),
        test_key=lambda row: source.key(int(batch["index"][row])), class_of=lambda label: f"class {label}",
    )  # fmt: skip


def page_of(evidence, tmp_path) -> Page:
    file = tmp_path / "heat.html"
    file.write_text(heat(evidence), encoding="utf-8")
    return Page(file)


def pictures_of(page: Page) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))), float)
        for image in page.of("img")
    ]


def test_each_clip_has_its_frame_and_its_map_with_the_true_boxes(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "MOST_PICTURES", 3)
    evidence = evidence_of("world:tiny@test")
    assert has_maps(evidence)
    page = page_of(evidence, tmp_path)
    assert len(page.of("figure")) == 3
    assert page.words.count("cIoU 0.") + page.words.count("cIoU 1.") == 3
    assert "seen: the frame" in page.words
    assert "framed in green" in page.words
    assert "blind" not in page.words
    pictures = pictures_of(page)
    assert len(pictures) == 6
    assert all(picture.shape == (SHOWN_SIZE, SHOWN_SIZE, 3) for picture in pictures)
    for level in pictures[1::2]:
        # The colours go from dark to bright, and the map from left to right.
        assert level[:, -20:].mean() > level[:, :20].mean() + 30
    assert len(page.of("button", "play")) == 3


def test_data_without_boxes_are_drawn_without(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    world = open_source("world:tiny@test")
    for number in range(10):
        media = world[number].media
        content = media if isinstance(media, bytes) else Path(media).read_bytes()
        (folder / f"{number}.mp4").write_bytes(content)
    page = page_of(evidence_of(f"folder:{folder}"), tmp_path)
    assert len(page.of("figure")) == 8
    assert "without boxes, as" in page.words
    assert "cIoU" not in page.words


@pytest.mark.parametrize("outputs", [{}, {"xid": {"video": 1, "audio": 2}}])
def test_a_run_without_maps_has_none(outputs):
    assert not has_maps(
        SimpleNamespace(sides=SimpleNamespace(test=SimpleNamespace(outputs=outputs)))
    )
