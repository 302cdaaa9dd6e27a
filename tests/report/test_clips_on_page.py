"""The page with clips: neighbours, confusions, what could not be used; and never too large."""

import base64
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from avssl.config import run_config
from avssl.errors import UsageError
from avssl.evaluate.protocols import across_modalities, knn
from avssl.media.decode import decode_audio
from avssl.media.probe import probe
from avssl.report import evidence as gathering
from avssl.report import page as paging
from avssl.report.clips import MOST_SOUND_SECONDS, SOUND_RATE, sound_uri
from avssl.report.confusion import MOST_CLASSES, confusion, counted, matrix, pairs
from avssl.report.evidence import drawn_of, gather, spread_over_classes
from avssl.report.gallery import MOST_QUERIES, NEIGHBOURS, gallery
from avssl.report.likeness import directions
from avssl.report.page import write_report
from avssl.report.runs import open_runs
from tests.report.conftest import CLASSES, DAMAGED, KEY
from tests.report.folders import Page, assert_self_contained, untrained


@pytest.fixture(scope="module")
def evidence(trained_run):
    return gather(open_runs([trained_run])[0])


@pytest.fixture(scope="module")
def page(trained_run, tmp_path_factory):
    return Page(write_report([trained_run], tmp_path_factory.mktemp("page") / "run.html"))


def test_the_page_has_all_sections_and_needs_nobody(page):
    assert_self_contained(page)
    # No objective of the run gives maps, so localisation is absent.
    assert page.sections == ["results", "curves", "nearest-clips", "confusions", "data", "config"]
    assert len(page.source.encode()) < 15_000_000
    assert [tab["aria-selected"] for tab in page.of("button") if tab.get("role") == "tab"] == [
        "true", "false", "false", "false",
    ]  # fmt: skip


def test_names_of_classes_and_files_cannot_become_markup(page):
    assert "<script>alert" not in page.source
    assert CLASSES[0] in page.words
    titles = [figure["title"] for figure in page.of("figure", "tile")]
    assert any(KEY in title for title in titles), "keys are shown as they are"


def test_each_query_has_its_neighbours_both_ways_and_within(page, evidence):
    num_queries = min(MOST_QUERIES, len(evidence.sides.test.index))
    assert len(page.of("div", "line")) == 4 * num_queries
    assert len(page.of("figure", "tile")) == 4 * num_queries * (1 + NEIGHBOURS)
    assert len(page.of("figure", "query")) == 4 * num_queries


def test_frames_and_sounds_are_those_of_the_clips(page):
    script = re.search(
        r'<script type="application/json" class="sounds">(.*?)</script>', page.source
    )
    sounds = json.loads(script[1])
    assert {button["data-sound"] for button in page.of("button", "play")} == sounds.keys()
    assert 1 < len(sounds) <= 12, "each sound once"
    for sound in sounds.values():
        kind, _, content = sound.partition(",")
        assert kind == "data:audio/mp4;base64"
        facts = probe(base64.b64decode(content))
        assert (facts.audio_channels, facts.audio_rate) == (1, SOUND_RATE)
        # The view of the run: a quarter of a second.
        assert 0.2 < facts.duration_seconds < 0.4
    for image in page.of("img"):
        picture = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        assert picture.size == (128, 128)
        assert np.asarray(picture).std() > 1


def test_long_sounds_are_cut_to_their_middle():
    wave = np.zeros((10 * SOUND_RATE, 1), np.int16)
    wave[5 * SOUND_RATE - 800 : 5 * SOUND_RATE + 800, 0] = 8000 * np.sin(np.arange(1600) / 4)
    encoded = base64.b64decode(sound_uri(wave).partition(",")[2])
    heard = decode_audio(
        encoded, start_seconds=0, seconds=MOST_SOUND_SECONDS, rate=SOUND_RATE, channels=1
    )
    loud = np.flatnonzero(np.abs(heard[:, 0]) > 2000) / SOUND_RATE
    assert MOST_SOUND_SECONDS / 2 - 0.1 < loud.min() < loud.max() < MOST_SOUND_SECONDS / 2 + 0.1


def test_neighbours_within_a_modality_are_the_nearest_others(evidence):
    features = evidence.embeddings["video"].astype(np.float64)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    (way,) = (one for one in directions(evidence, [3, 0], 4) if one.query == one.gallery == "video")
    for place, query in enumerate((3, 0)):
        expected = np.sort(cosines[query])[::-1][:4]
        np.testing.assert_allclose(way.scores[place], expected, atol=1e-5)
        np.testing.assert_allclose(cosines[query, way.rows[place]], expected, atol=1e-5)


def test_ranks_of_own_clips_are_those_of_retrieval(evidence):
    everyone = list(range(len(evidence.sides.test.index)))
    found = {
        (score.features, score.metric): score.value
        for score in across_modalities(evidence.model, evidence.sides)
    }
    ways = [way for way in directions(evidence, everyone, 4) if way.query != way.gallery]
    assert [(way.query, way.gallery) for way in ways] == [("video", "audio"), ("audio", "video")]
    labels = evidence.sides.test.labels
    for way in ways:
        name = f"{way.query}->{way.gallery}"
        assert (way.own_ranks == 1).mean() == pytest.approx(found[name, "r1"])
        right = labels[way.rows[:, 0]] == labels
        assert right.mean() == pytest.approx(found[name, "class_p1"])
        assert (np.diff(way.scores, axis=1) <= 0).all()


def test_the_confusions_are_those_of_the_knn_probe(evidence):
    scores = {score.features: score.value for score in knn(evidence.model, evidence.sides)}
    drawn = confusion(evidence)
    for modality in ("video", "audio"):
        assert f"{modality}, by the vote" in drawn
        assert f": {100 * scores[modality]:.1f} % of 12 clips right" in drawn


def test_counts_of_a_matrix(tmp_path):
    counts, classes = counted(np.array([0, 0, 2, 2, 2]), np.array([0, 2, 2, 2, 5]))
    assert classes == [0, 2, 5]
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 1], [0, 0, 0]])
    file = tmp_path / "matrix.html"
    file.write_text(matrix(counts, ["a", "b", "<i>"]), encoding="utf-8")
    assert "a 1 1 50 % b 2 1 67 % <i> –" in Page(file).words
    file.write_text(pairs(counts, ["a", "b", "<i>"]), encoding="utf-8")
    assert Page(file).words == "true taken for clips a b 1 of 2 b <i> 1 of 3"


def test_many_classes_are_listed_by_their_confusions():
    number = MOST_CLASSES + 1
    features = np.eye(number, dtype=np.float32)
    labels = np.arange(number)
    side = SimpleNamespace(labels=labels, embeddings={"video": features})
    side.where = lambda rows: side
    source = SimpleNamespace(labels=lambda: labels, spec="many")
    part = SimpleNamespace(source=source, used=labels)
    several = SimpleNamespace(
        sides=SimpleNamespace(train=side, test=side), parts=(part, part),
        embeddings={"video": features}, class_of=str,
    )  # fmt: skip
    drawn = confusion(several)
    assert "taken for" in drawn
    assert 'class="confusion"' not in drawn


def test_clips_that_could_not_be_used_are_named(page):
    assert "test part: used 12 of 13 records of manifest:" in page.words
    assert "test part: lost 1 1 cannot be read, 0 lack a modality" in page.words
    assert DAMAGED in page.words


def test_queries_spread_over_the_classes():
    labels = [0] * 50 + [1] * 3 + [2] * 2 + [-1]
    order = spread_over_classes(labels, 0)
    assert sorted(order) == list(range(len(labels)))
    assert {labels[row] for row in order[:4]} == {0, 1, 2, -1}
    assert sorted(labels[row] for row in order[4:7]) == [0, 1, 2]
    assert order == spread_over_classes(labels, 0)
    assert order != spread_over_classes(labels, 1)


def test_large_parts_are_drawn_by_the_seed():
    source = SimpleNamespace(spec="large")
    everything = np.arange(100)
    assert drawn_of((source, everything), 100, 0)[1] is everything
    drawn = drawn_of((source, everything), 10, 0)[1]
    assert len(set(drawn.tolist())) == 10
    np.testing.assert_array_equal(drawn, np.sort(drawn))
    np.testing.assert_array_equal(drawn, drawn_of((source, everything), 10, 0)[1])
    assert drawn.tolist() != drawn_of((source, everything), 10, 1)[1].tolist()


def test_a_drawn_part_says_so(trained_run, monkeypatch, tmp_path):
    monkeypatch.setattr(gathering, "MOST_TRAIN", 9)
    page = Page(write_report([trained_run], tmp_path / "page.html"))
    assert "training part: used 9 of 16 records of manifest:" in page.words
    assert "train.csv, of which 9 were drawn by the seed" in page.words


def test_less_room_is_fewer_queries(evidence):
    whole = gallery(evidence, 10**9)
    half = gallery(evidence, len(whole) // 2)
    assert len(half.encode()) <= len(whole) // 2
    assert 0 < half.count('class="tile query"') < whole.count('class="tile query"')
    with pytest.raises(UsageError, match="hold no query"):
        gallery(evidence, 1000)


def test_the_page_stays_below_its_limit(trained_run, monkeypatch, tmp_path):
    whole = write_report([trained_run], tmp_path / "whole.html").stat().st_size
    limit = 2 * whole // 3
    monkeypatch.setattr(paging, "MOST_BYTES", limit)
    monkeypatch.setattr(paging, "RESERVED_BYTES", 30_000)
    file = write_report([trained_run], tmp_path / "page.html")
    assert file.stat().st_size <= limit
    assert "hold no query" not in Page(file).words
    monkeypatch.setattr(paging, "MOST_BYTES", 10_000)
    with pytest.raises(UsageError, match="report fewer runs"):
        write_report([trained_run], tmp_path / "none.html")


def test_of_several_runs_one_may_lack_its_clips(trained_run, tmp_path):
    lonely = untrained(tmp_path / "lonely")
    page = Page(write_report([trained_run, lonely], tmp_path / "both.html"))
    assert "lonely Left out, with heat maps and confusions:" in page.words
    assert "has no checkpoint yet" in page.words
    assert len(page.of("div", "gallery")) == 1


def test_data_that_are_gone_are_said_on_the_page(trained_run, tmp_path):
    config = (trained_run / "config.json").read_text()
    folder = tmp_path / "moved"
    folder.mkdir()
    source = run_config(trained_run).data.source.partition("/train.csv")[0]
    (folder / "config.json").write_text(config.replace(source, "manifest:/gone"))
    (folder / "checkpoints").symlink_to(trained_run / "checkpoints")
    page = Page(write_report([folder]))
    assert "Left out, with heat maps and confusions: " in page.words
    assert "/gone" in page.words
    assert "confusions" not in page.sections
