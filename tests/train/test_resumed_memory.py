"""What objectives remember beside parameters goes on bit for bit, and only on the data that it is of."""

import pytest

from tests.conftest import TINY_CONFIG
from tests.train.command_line import assert_identical, final_state

ALONE = "objectives.xid.weight=0"
AVID = (ALONE, "objectives.avid.num_negatives=10", "objectives.avid.projection=16,8")
# The stop lies before the border of stages, the start of clustering and the first prototypes.
REMEMBERING = {
    "bank": ("avid/video_bank", AVID),
    "averages": (
        "robust_xid/statistics/mean",
        (ALONE, "objectives.robust_xid.projection=16,8", "ema.decay=0.9"),
    ),
    "queue": (
        "mcn/queue",
        (
            ALONE, "objectives.mcn.embedding_width=8", "objectives.mcn.num_clusters=4",
            "objectives.mcn.queue_rows=12", "objectives.mcn.cluster_from_step=4",
            "objectives.mcn.refit_every_steps=1",
        ),
    ),
    "codebook": (
        "desa/video_codebook/prototypes",
        (
            "objectives.desa.form=codebook", "objectives.desa.num_classes=2",
            "objectives.desa.labels_at_step=2",
        ),
    ),
    "stage border": (
        "",
        (ALONE, "objectives.avts.projection=16,8", "objectives.avts.hard_from_step=4"),
    ),
}  # fmt: skip


@pytest.fixture
def train(run, tmp_path):
    """Objectives that are named are switched on, in place of xid or beside it."""

    def call(name, keys, steps, *flags):
        objective = next(key.split(".")[1] for key in keys if key != ALONE and "objectives" in key)
        words = (*keys, f"objectives.{objective}.weight=1", f"steps={steps}")
        return run(
            "pretrain", "--config", f"{TINY_CONFIG}:shifted", "--workdir", tmp_path / name,
            *(f"--config.{word}" for word in words), *flags,
        )  # fmt: skip

    return call


@pytest.mark.slow
@pytest.mark.parametrize(("held", "keys"), REMEMBERING.values(), ids=REMEMBERING)
def test_a_run_that_stopped_goes_on_to_the_same_bits(held, keys, train, tmp_path):
    assert train("whole", keys, 6)[0] == 0
    assert train("broken", keys, 3)[0] == 0
    code, said, _ = train("broken", keys, 6)
    assert code == 0
    assert "checkpoint of step 3" in said
    assert_identical(tmp_path / "broken", tmp_path / "whole")
    if held:
        kept = {name: x for name, x in final_state(tmp_path / "whole")[1].items() if held in name}
        assert kept, "nothing of this name is remembered"
        assert all(x.any() for x in kept.values())


def test_a_bank_of_another_data_set_is_refused(train):
    assert train("bank", AVID, 1)[0] == 0
    other = ("--config.data.source=world:tiny@test", "--allow-config-change")
    code, _, said = train("bank", AVID, 2, *other)
    assert code == 2
    (line,) = [line for line in said.splitlines() if line.startswith("avssl: ")]
    assert "data.source 'world:tiny@test' is not the data this run was trained on" in line
    assert "restore the data or take another --workdir" in line
