"""`avssl bench files`: what reading is measured on can be made again."""

import av
from av.video.frame import PictureType


def test_files_as_of_cameras_are_the_same_bytes_again(run, tmp_path):
    words = ("--files", 1, "--seconds", 1)
    code, said, _ = run("bench", "files", tmp_path / "videos", *words)
    assert code == 0
    (file,) = (tmp_path / "videos").iterdir()
    first = file.read_bytes()
    assert said == f"{file}  {len(first):,} bytes\n"
    assert run("bench", "files", tmp_path / "videos", *words)[0] == 0
    assert file.read_bytes() == first
    with av.open(str(file)) as media:
        video, audio = media.streams.video[0], media.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 340, 256)
        assert (audio.codec_context.name, audio.rate) == ("aac", 44100)
        kinds = [frame.pict_type for frame in media.decode(video)]
    # What makes a window in the middle slow to reach.
    assert len(kinds) == 25
    assert kinds.count(PictureType.I) == 1
    assert PictureType.B in kinds


def test_no_other_files_are_among_them(run, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"")
    code, _, error = run("bench", "files", tmp_path)
    assert code == 2
    assert "has other files, such as 'film.mp4'" in error
    code, _, error = run("bench", "files", tmp_path / "film.mp4")
    assert code == 2
    assert "give another folder" in error
