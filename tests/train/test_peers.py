"""Process 0 keeps the store of all: before it leaves a lost one, the others must have been able to say so."""

import pytest

from avssl.train import peers
from avssl.train.peers import FAREWELL_BEATS, Watch


class LeftError(Exception):
    pass


class Store:
    """Process 1 says nothing any more, process 2 counts some beats later than process 0."""

    def __init__(self, beats_until_heard):
        self.words = {"1": "beat 7", "2": "beat 7"}
        self.beats_until_heard = beats_until_heard

    def key_value_set(self, key, word, allow_overwrite):
        self.words[key.rsplit("/", 1)[1]] = word

    def key_value_dir_get(self, folder):
        return [(f"{folder}/{peer}", word) for peer, word in self.words.items()]

    def beat(self, _seconds):
        self.beats_until_heard -= 1
        if self.beats_until_heard == 0:
            self.words["2"] = "left process 1 is lost"


@pytest.mark.parametrize(
    ("own", "heard", "waited"), [(0, 2, 2), (0, 99, FAREWELL_BEATS), (2, 99, 0)]
)
def test_process_0_hears_out_all_but_the_lost_one(own, heard, waited, monkeypatch, capsys):
    store = Store(heard)
    monkeypatch.setattr(Watch, "_run", lambda self: None)
    watch = Watch(store, own, 3)
    monkeypatch.setattr(peers.time, "sleep", store.beat)

    def leave(code):
        raise LeftError(code)

    monkeypatch.setattr(peers, "leave", leave)
    with pytest.raises(LeftError, match="1"):
        watch._give_up("1", "process 1 is lost")
    assert heard - store.beats_until_heard == waited
    assert store.words[str(own)] == "left process 1 is lost"
    assert capsys.readouterr().err == f"avssl: process {own}: process 1 is lost\n"
