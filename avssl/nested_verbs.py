"""Which words the verbs below `data` and `bench` take."""

import os
from pathlib import Path

from avssl.argument_parser import Parser, add_config, verb
from avssl.flag_types import at_least, numbers_of, writable_file
from avssl.verbs import (
    run_bench_bank,
    run_bench_clusters,
    run_bench_data,
    run_bench_files,
    run_bench_step,
    run_bench_teachers,
    run_data_build,
    run_data_guide,
    run_data_inspect,
    run_data_verify,
)


def add_data_verbs(data: Parser) -> None:
    verbs = data.add_subparsers(
        dest="data_verb", metavar="build|guide|inspect|verify", required=True
    )
    build = verb(verbs, "build", "re-encode a source into a data set of ArrayRecord shards", run_data_build,
                 "avssl data build folder:videos data/videos --short-side 128 --workers 2")  # fmt: skip
    build.add_argument("spec", help="world:NAME, folder:PATH, images:PATH, manifest:FILE.csv, ...")
    build.add_argument("out", help="folder of the data set, made if absent")
    build.add_argument(
        "--short-side", type=at_least(1), default=128, help="pixels of the shorter side"
    )
    build.add_argument("--video-format", default="h264", metavar="h264|jpeg|raw",
                       help="H.264, or frames that stand alone: as JPEG, or as their pixels")  # fmt: skip
    build.add_argument("--fps", type=float, default=None,
                       help="so many frames a second (default: every frame, at its own time)")  # fmt: skip
    build.add_argument(
        "--gop", type=at_least(1), default=16, help="frames between keyframes, of h264"
    )
    build.add_argument("--audio-rate", type=at_least(1), default=24000, help="samples per second")
    build.add_argument("--workers", type=at_least(0), default=os.cpu_count() or 1, help="processes")
    build.add_argument("--require", default="", help="drop clips without: audio,video")
    build.add_argument("--allow-outside", action="store_true",
                       help="let a manifest name files outside its folder")  # fmt: skip
    guide = verb(verbs, "guide", "how to prepare a published data set, from its official list to the build",
                 run_data_guide, "avssl data guide ucf101")  # fmt: skip
    guide.add_argument("name", nargs="?", default="", help="data set (default: list them)")
    inspect = verb(verbs, "inspect", "contact sheet, spectrograms and a table of a source", run_data_inspect,
                   "avssl data inspect world:quickstart@test --out sheets")  # fmt: skip
    inspect.add_argument("spec")
    inspect.add_argument(
        "--out", type=Path, default=Path("inspect"), help="folder for the PNG files"
    )
    inspect.add_argument("--num", type=at_least(1), default=16, help="how many clips to show")
    verify = verb(verbs, "verify", "decode everything and list what is bad", run_data_verify,
                  "avssl data verify tfds:data/videos --workers 2")  # fmt: skip
    verify.add_argument("spec")
    verify.add_argument(
        "--workers", type=at_least(0), default=os.cpu_count() or 1, help="processes"
    )


def add_bench_verbs(bench: Parser) -> None:
    verbs = bench.add_subparsers(
        dest="bench_verb", metavar="data|files|step|teachers|clusters|bank", required=True
    )
    data = verb(verbs, "data", "clips per second of the pipeline, beside a bare PyAV loop", run_bench_data,
                "avssl bench data folder:videos --config configs/quickstart.py")  # fmt: skip
    data.add_argument("spec")
    data.add_argument(
        "--config", default="", metavar="FILE[:VARIANT]", help="whose views to decode"
    )
    data.add_argument("--clips", type=at_least(1), default=256, help="how many clips to time")
    data.add_argument(
        "--vs", choices=("torch",), default="", help="beside a PyTorch DataLoader with PyAV"
    )
    data.add_argument("--workers", type=numbers_of, default=(), metavar="0,1,2",
                      help="clips per second by the clock with so many worker processes")  # fmt: skip
    files = verb(verbs, "files", "write files as of cameras, to measure reading on", run_bench_files,
                 "avssl bench files videos --files 48")  # fmt: skip
    files.add_argument("folder", type=Path, help="has no other files; made if absent")
    files.add_argument("--files", type=at_least(1), default=48, help="how many")
    files.add_argument("--seconds", type=at_least(1), default=10, help="of each")
    step = verb(verbs, "step", "time, FLOPs and memory of a training step, and where its time goes",
                run_bench_step, "avssl bench step --config configs/quickstart.py")  # fmt: skip
    add_config(step)
    step.add_argument("--steps", type=at_least(1), default=20, help="how many steps to time")
    step.add_argument(
        "--vs", choices=("torch",), default="", help="beside a plain PyTorch step of AVID, in turns with ours"
    )  # fmt: skip
    teachers = verb(
        verbs, "teachers", "teachers in the step beside what their stores hold", run_bench_teachers,
        "avssl bench teachers --config configs/world/distill.py \\\n"
        "      --config.teachers.teacher.store=runs/audio-targets",
    )  # fmt: skip
    add_config(teachers)
    teachers.add_argument("--clips", type=at_least(1), default=1024, help="how many clips to time")
    teachers.add_argument("--steps", type=at_least(1), default=20, help="how many steps to time")
    clusters = verb(verbs, "clusters", "k-means of all records, as XDC calls it", run_bench_clusters,
                    "avssl bench clusters --clusters 64,512")  # fmt: skip
    clusters.add_argument("--rows", type=at_least(1), default=240_000)
    clusters.add_argument("--dim", type=at_least(1), default=512)
    clusters.add_argument("--clusters", type=numbers_of, default=(64, 128, 256, 512),
                          metavar="64,512")  # fmt: skip
    bank = verb(verbs, "bank", "update of memory banks, and negatives from them", run_bench_bank,
                "avssl bench bank --rows 2000000 --batch-size 256")  # fmt: skip
    bank.add_argument("--rows", type=at_least(2), default=2_000_000)
    bank.add_argument("--dim", type=at_least(1), default=128)
    bank.add_argument("--batch-size", type=at_least(1), default=256)
    bank.add_argument("--negatives", type=at_least(1), default=1024, help="of each row")
    bank.add_argument("--steps", type=at_least(1), default=20, help="how many steps to time")
    bank.add_argument(
        "--fsdp", type=at_least(1), default=1, help="split the rows over so many devices: parallel.fsdp"
    )  # fmt: skip
    for bench in (data, step, teachers, clusters, bank):
        bench.add_argument(
            "--results", type=writable_file, default=None,
            help="write a table into a section of this Markdown file",
        )  # fmt: skip
