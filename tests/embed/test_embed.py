"""Embeddings of files and arrays: the numbers of an evaluation, whoever asks."""

import wave
from pathlib import Path

import av
import jax
import numpy as np
import pytest

import avssl
from avssl.config import load_config, run_config
from avssl.data.open import open_source
from avssl.errors import AvsslError, UsageError
from avssl.evaluate.features import Extractor
from avssl.evaluate.run import trained_variables
from avssl.train.build_model import evaluation_model
from tests.teachers.conftest import TINY, make_run, saved_run

DATA = "world:tiny@test"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("embed") / "run")


@pytest.fixture(scope="module")
def encoders(run_folder):
    return avssl.load(run_folder)


@pytest.fixture(scope="module")
def aligned_run(tmp_path_factory):
    """Of AVSA, whose sound is turned toward each view of a panorama."""
    config = load_config(str(TINY))
    config.data.source = "world:tiny_sphere@train"
    config.views.video.update(projection="sphere", flip=False)
    config.views.viewpoints = dict(**config.views.video.to_dict(), windows=2)
    config.views.audio.channels = 4
    config.objectives = dict(avsa=dict(weight=1.0, transformers=False, projection_width=8))
    return saved_run(tmp_path_factory.mktemp("aligned") / "run", config)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_of(tmp_path_factory.mktemp("clips"), DATA)


def files_of(folder: Path, data: str) -> list[Path]:
    """Five clips of the world as files of their own."""
    source, paths = open_source(data), []
    for index in range(5):
        media = source[index].media
        paths.append(folder / f"clip{index}.mp4")
        paths[-1].write_bytes(media if isinstance(media, bytes) else Path(media).read_bytes())
    return paths


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """(file, samples): two seconds of noise at the rate of the view."""
    samples = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16)
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return path, samples


def test_files_have_the_embeddings_of_an_evaluation(run_folder, encoders, files):
    model = evaluation_model(run_config(run_folder))
    _, variables, _ = trained_variables(run_folder, model)
    extractor = Extractor(model, batch_size=8)
    expected = extractor.extract({"run": variables}, open_source(DATA), np.arange(5))["run"]
    for modality, embed in (("video", encoders.embed_video), ("audio", encoders.embed_audio)):
        found = embed(files)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.embeddings[modality], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(embed(files[2]), found[2], rtol=1e-5, atol=1e-6)


def test_samples_are_heard_as_their_file_is(encoders, sound):
    path, samples = sound
    from_file = encoders.embed_audio(path)
    for array in (samples, samples[:, None], samples / 32768):
        np.testing.assert_allclose(encoders.embed_audio(array, rate=8000), from_file, rtol=1e-5)
    # Twice the rate with every sample twice is nearly the same sound, resampled.
    twice = encoders.embed_audio(np.repeat(samples, 2), rate=16000)
    assert np.corrcoef(twice, from_file)[0, 1] > 0.9


def test_windows_from_the_start_on(encoders, sound):
    path, samples = sound
    # Of a quarter of a second each: 0, 0.5, 1 and 1.5 s.
    found = encoders.embed_audio(path, every_seconds=0.5)
    assert found.shape == (4, encoders["audio"].embed(path).shape[0])
    parts = [samples[4000 * number : 4000 * number + 2000] for number in range(4)]
    np.testing.assert_allclose(found, encoders.embed_audio(parts, rate=8000), rtol=1e-5, atol=1e-6)
    short, long = encoders.embed_audio([samples[:2000], samples], rate=8000, every_seconds=0.5)
    assert len(short) == 1
    np.testing.assert_allclose(long, found, rtol=1e-5, atol=1e-6)


def test_frames_are_shown_at_the_rate_of_the_view(encoders):
    """The view has two frames of four a second: of 16 a second over one second, numbers 4 and 8."""
    frames = np.random.default_rng(1).integers(0, 256, (16, 24, 32, 3), np.uint8)
    shown = frames[[4, 8]]
    expected = encoders.embed_video(shown, fps=4.0)
    np.testing.assert_allclose(encoders.embed_video(frames, fps=16.0), expected, rtol=1e-5)
    other = frames.copy()
    other[[0, 1, 2, 3, 5, 6, 7, 9, 10]] = 0
    np.testing.assert_allclose(encoders.embed_video(other, fps=16.0), expected, rtol=1e-5)


def test_the_batch_size_moves_nothing(run_folder, encoders, files):
    by_few = avssl.load(run_folder, batch_size=1)
    expected = encoders.embed_video(files)
    np.testing.assert_allclose(by_few.embed_video(files * 2)[5:], expected, rtol=1e-5, atol=1e-6)


def test_module_and_variables_are_for_flax(encoders, sound):
    _, samples = sound
    one = encoders["audio"]
    waveform = (samples[7000:9000].astype(np.float32) / 32768)[None, :, None]
    heard = one.frontend(jax.numpy.asarray(waveform), rate=one.view.rate)
    features = one.module.apply(one.variables, heard, train=False)
    expected = one.embed(samples, rate=8000)
    np.testing.assert_allclose(features.embedding[0], expected, rtol=1e-4, atol=1e-5)


def test_nothing_gives_nothing(encoders):
    assert encoders.embed_video([]).shape == (0, encoders["video"].dim)
    assert encoders.embed_video([], every_seconds=1.0) == []


def test_what_is_no_clip_is_named(encoders, files, sound, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no media")
    path, samples = sound
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    for call, said in (
        (lambda: encoders.embed_video(tmp_path / "gone.mp4"), "gone.mp4' is no file"),
        (lambda: encoders.embed_video([files[0], text]), "notes.txt' cannot be read"),
        (lambda: encoders.embed_video(text, every_seconds=1.0), "notes.txt'"),
        (lambda: encoders.embed_video(path), "noise.wav' has no video"),
        (lambda: encoders.embed_video([files[0], frames]), "of files or of arrays"),
        (lambda: encoders.embed_video(files[0], fps=25), "files say their own"),
        (lambda: encoders.embed_video(frames), "rate must say"),
        (lambda: encoders.embed_video(frames / 255, fps=25), "must be uint8"),
        (lambda: encoders.embed_video(frames[0], fps=25), "must be uint8"),
        (lambda: encoders.embed_audio(samples.astype(np.int64), rate=8000), "int16, or floats"),
        (lambda: encoders.embed_audio(samples[None], rate=8000), "not 16000"),
        (lambda: encoders.embed_audio(samples, rate=8000.5), "whole number"),
        (lambda: encoders.embed_audio(np.full(9, np.nan), rate=8000), "finite"),
        (lambda: encoders.embed_audio(path, every_seconds=0.0), "every_seconds"),
        (lambda: encoders["vidoe"], "did you mean 'video'"),
    ):
        with pytest.raises(AvsslError, match=said):
            call()


def test_what_is_heard_turned_toward_a_view_alone_is_left_out(aligned_run, capsys):
    encoders = avssl.load(aligned_run)
    assert set(encoders) == {"video"}
    assert "audio" not in encoders
    said = "its encoder 'audio' only knows sound that is turned toward a view"
    assert said in capsys.readouterr().err
    samples = np.zeros((16000, 4), np.int16)
    for call in (lambda: encoders["audio"], lambda: encoders.embed_audio(samples, rate=16000)):
        with pytest.raises(UsageError, match=said):
            call()


def test_frames_of_a_panorama_are_looked_at_as_their_file_is(aligned_run, tmp_path):
    encoder = avssl.load(aligned_run)["video"]
    paths = files_of(tmp_path, "world:tiny_sphere@test")[:2]
    frames, fps = [], 0.0
    for path in paths:
        with av.open(path) as opened:
            fps = float(opened.streams.video[0].average_rate)
            frames.append(
                np.stack([frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)])
            )
    for every_seconds in (None, 0.5):
        expected = np.vstack(encoder.embed(paths, every_seconds=every_seconds))
        found = np.vstack(encoder.embed(frames, rate=fps, every_seconds=every_seconds))
        assert found.shape == expected.shape
        near = np.corrcoef(found, expected)[: len(found), len(found) :]
        # Each window is that of the file, and looks elsewhere than the others.
        assert (np.diag(near) > 0.99).all()
        assert (near.argmax(axis=1) == np.arange(len(near))).all()
    with pytest.raises(UsageError, match="twice as wide as high"):
        encoder.embed(frames[0][:, :, :64], rate=fps)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no run folder"):
        avssl.load(tmp_path)
