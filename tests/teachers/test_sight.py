"""What a teacher may see other than it learnt from."""

import pytest

from avssl.data.views import build_view
from avssl.errors import UsageError
from avssl.teachers.teacher import Teacher


def sound(**keys):
    return build_view("audio", {"modality": "audio", "seconds": 10.0, "rate": 32000, **keys})


def taught_by(name):
    return Teacher("step 1 of runs/x", "audio", {"name": name}, (sound(),), {})


def test_one_that_pools_over_time_hears_sounds_of_any_length():
    taught_by("cnn14").check_view("sound", "audio", sound(seconds=3.0))
    # Its patches have places.
    with pytest.raises(
        UsageError, match=r"was trained on audio: seconds 10, .*'audio' is audio: seconds 3,"
    ):
        taught_by("vit_audio").check_view("sound", "audio", sound(seconds=3.0))


@pytest.mark.parametrize("other", [{"rate": 16000}, {"channels": 2}])
def test_but_not_other_sounds(other):
    with pytest.raises(UsageError, match="give it a view of its own kind"):
        taught_by("cnn14").check_view("sound", "audio", sound(**other))
