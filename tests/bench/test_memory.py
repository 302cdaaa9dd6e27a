"""What is recomputed of all records and what is kept of them, timed at any size."""

import re


def test_clusters_are_timed_one_number_after_the_other(run):
    code, said, _ = run(
        "bench", "clusters", "--rows", 300, "--dim", 4, "--clusters", "3,20"
    )  # fmt: skip
    assert code == 0
    assert "300 x 4" in said
    assert re.findall(r"k = (\d+) +[\d.]+ s, \d+ iterations", said) == ["3", "20"]
    code, _, error = run("bench", "clusters", "--rows", 300, "--clusters", "3,301")
    assert code == 2
    assert "--clusters 301: between 1 and --rows 300" in error


def test_banks_are_updated_and_compared(run):
    sizes = ("--rows", 4096, "--dim", 32, "--batch-size", 8, "--negatives", 5, "--steps", 2)
    code, said, _ = run("bench", "bank", *sizes)
    assert code == 0
    assert "2 x 4,096 x 32 float32, 0.00 GiB, split 1 ways" in said
    assert re.search(r"update +[\d.]+ ms of both \(median of 2, batch of 8\)", said)
    assert re.search(r"negatives +[\d.]+ ms to draw 5 a row", said)


def test_a_device_holds_its_part_of_the_banks(run):
    sizes = ("--rows", 2**15, "--dim", 128, "--batch-size", 8, "--negatives", 5, "--steps", 1)
    shares = {1: "0.03", 4: "0.01"}
    for fsdp, each in shares.items():
        code, said, _ = run("bench", "bank", *sizes, "--fsdp", fsdp)
        assert code == 0
        assert f"0.03 GiB, split {fsdp} ways: {each} GiB a device" in said
    code, _, error = run("bench", "bank", *sizes, "--fsdp", 3)
    assert code == 2
    assert "does not divide the 8 devices" in error
    code, _, error = run("bench", "bank", *sizes[:4], "--batch-size", 9)
    assert code == 2
    assert "batch_size 9 does not divide over 8 devices" in error
