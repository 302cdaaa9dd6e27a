"""Colour and background give the class away to nobody."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from avssl.world.registry import WORLDS
from avssl.world.scene import draw_scene
from tests.world.rendering import render

# Scenes do not depend on the frame rate, so this renders fewer frames of the very same scenes.
WORLD = dataclasses.replace(WORLDS["quickstart"], fps=1)


def one_frame_each(split: str, num_clips: int) -> tuple[np.ndarray, np.ndarray]:
    frames, labels = [], []
    for index in range(num_clips):
        scene = draw_scene(WORLD, split, index)
        clip, _ = render(scene)
        frames.append(clip[index % len(clip)])
        labels.append(scene.label)
    return np.array(frames) / 255, np.array(labels)


@pytest.fixture(scope="module")
def frames() -> dict:
    return {"train": one_frame_each("train", 600), "test": one_frame_each("test", 300)}


def mean_colour(frames: np.ndarray) -> np.ndarray:
    return frames.mean(axis=(1, 2))


def grey_thumbnail(frames: np.ndarray) -> np.ndarray:
    block = WORLD.size // 16
    return frames.mean(-1).reshape(-1, 16, block, 16, block).mean((2, 4)).reshape(-1, 256)


def accuracy(features, train: tuple, test: tuple) -> float:
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    probe.fit(features(train[0]), train[1])
    return probe.score(features(test[0]), test[1])


@pytest.mark.parametrize("features", [mean_colour, grey_thumbnail])
def test_pixels_stay_within_eight_points_of_chance(frames, features) -> None:
    assert WORLD.num_classes == 10
    assert abs(accuracy(features, frames["train"], frames["test"]) - 0.1) < 0.08


@pytest.mark.parametrize("features", [mean_colour, grey_thumbnail])
def test_the_probe_would_notice_a_leak(frames, features) -> None:
    """The same probe on the same frames, darkened by their class: it must find that."""
    darkened = {
        split: (x * (1 - 0.08 * y[:, None, None, None]), y) for split, (x, y) in frames.items()
    }
    assert accuracy(features, darkened["train"], darkened["test"]) > 0.2
