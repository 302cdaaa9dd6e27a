"""Zero-shot with the means of the training clips as class vectors, and files that have none to give."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from avssl.errors import UsageError
from avssl.evaluate.zero_shot import read_vectors, zero_shot

NAMES = tuple(f"class {number}" for number in range(7))
LABELS = np.append(np.tile(np.arange(7), 10), -1).astype(np.int32)


def clips(seed: int, noise: float = 0.3) -> np.ndarray:
    return np.eye(7, 9)[LABELS] + noise * np.random.default_rng(seed).normal(size=(71, 9))


def means(kept=NAMES, rows=slice(None)) -> dict[str, np.ndarray]:
    train = clips(0)
    return {name: train[NAMES.index(name) == LABELS][rows] for name in kept}


def scored(vectors, video, audio, joint=lambda outputs: (outputs["video"], outputs["audio"])):
    source: Any = SimpleNamespace(spec="clips", label_names=NAMES, labels=lambda: LABELS)
    outputs = {"video": video, "audio": audio}
    test: Any = SimpleNamespace(index=np.arange(71), labels=LABELS, of=lambda name: outputs)
    sides: Any = SimpleNamespace(scored=(source, np.arange(71)), test=test)
    nothing = SimpleNamespace(joint=lambda outputs: None)
    model: Any = SimpleNamespace(objectives={"none": nothing, "one": SimpleNamespace(joint=joint)})
    return {(score.features, score.metric): score for score in zero_shot(model, sides, vectors)}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_means_of_classes_name_the_clips(suffix, tmp_path):
    file = tmp_path / f"vectors.{suffix}"
    # Some classes have one vector, and some several; lengths say nothing.
    vectors = {name: 9.0 * array if n % 2 else array.mean(axis=0)
               for n, (name, array) in enumerate(means().items())}  # fmt: skip
    if suffix == "npz":
        np.savez(file, **vectors)
    else:
        save_file(vectors, file)
    noise = np.random.default_rng(2).normal(size=(71, 9))
    found = scored(file, clips(1), noise)
    assert found["video", "top1"].value > 0.8
    assert found["video", "top5"].value >= found["video", "top1"].value
    assert found["audio", "top1"].value < 0.4
    assert found["video", "top1"].chance == pytest.approx(1 / 7)
    assert found["video", "top1"].n == 70
    nearest = clips(1)[:70] @ np.stack(
        [unit(np.atleast_2d(vectors[name])) for name in NAMES], axis=1
    )  # fmt: skip
    assert found["video", "top1"].value == np.mean(nearest.argmax(axis=1) == LABELS[:70])


def unit(vectors):
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_classes_without_a_vector_are_left_out_and_ties_are_wrong(tmp_path, capsys):
    np.savez(tmp_path / "some.npz", **means(NAMES[2:6]), other=np.ones(9))
    found = scored(tmp_path / "some.npz", clips(1), np.zeros((71, 9)))
    assert found["video", "top1"].n == 40
    assert found["video", "top1"].chance == 0.25
    assert ("video", "top5") not in found
    assert found["audio", "top1"].value == 0.0
    assert "3 of 7 classes have no vector" in capsys.readouterr().out


def test_what_cannot_be_scored(tmp_path):
    file = tmp_path / "vectors.npz"
    np.savez(file, **means())
    with pytest.raises(UsageError, match="vectors of 9 numbers, and the clips have 4"):
        scored(file, np.ones((71, 4)), np.ones((71, 4)))
    with pytest.raises(UsageError, match="has a space of sight and sound"):
        scored(file, clips(1), clips(1), joint=lambda outputs: None)
    with pytest.raises(UsageError, match="zero_shot needs class vectors: --class-vectors"):
        scored(None, clips(1), clips(1))
    with pytest.raises(UsageError, match="is no file"):
        scored(tmp_path / "none.npz", clips(1), clips(1))
    np.savez(file, **means(NAMES[:1]))
    with pytest.raises(UsageError, match="has vectors of 1 classes of clips"):
        scored(file, clips(1), clips(1))


@pytest.mark.parametrize("opposite", [-1.0, -0.3])
def test_prompts_that_cancel_out_are_refused(opposite, tmp_path):
    vector = np.random.default_rng(3).normal(size=9).astype(np.float32)
    both = np.stack([vector, np.float32(opposite) * vector])
    np.savez(tmp_path / "vectors.npz", **{**means(), "class 3": both})
    with pytest.raises(UsageError, match=r"the vectors of 'class 3' in .* cancel out"):
        scored(tmp_path / "vectors.npz", clips(1), clips(1))


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.array([np.nan, 1.0]), np.ones((2, 2, 2)), np.array(["a"])]
)
def test_what_is_no_vector(array, tmp_path):
    np.savez(tmp_path / "v.npz", wrong=array)
    with pytest.raises(UsageError, match=r"'wrong' in .* is no vector of numbers"):
        read_vectors(tmp_path / "v.npz")


def test_no_pickle_is_read(tmp_path):
    np.savez(tmp_path / "v.npz", wrong=np.array([{}], object))
    (tmp_path / "text.npz").write_text("words")
    for name in ("v.npz", "text.npz"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_vectors(tmp_path / name)
