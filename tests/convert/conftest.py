"""Commands as a user calls them."""

import pytest


@pytest.fixture
def run(run):
    """What a command printed, or with `refused` the sentence that it ended with."""

    def call(*words, refused=False):
        code, out, err = run(*words)
        assert code == (2 if refused else 0), err
        return err if refused else out

    return call
