"""Which words each verb takes."""

import argparse
from pathlib import Path
from typing import Any

from avssl.argument_parser import DEBUG, Parser, add_config, verb
from avssl.flag_types import at_least, numbers_of, shard, steps_between, writable_file
from avssl.nested_verbs import add_bench_verbs, add_data_verbs
from avssl.verbs import (
    run_ablate,
    run_evaluate,
    run_export,
    run_finetune,
    run_import,
    run_list,
    run_plan,
    run_pretrain,
    run_report,
    run_teach,
)


def build_parser() -> Parser:
    parser = Parser(
        prog="avssl",
        description="Self-supervised audio-visual pretraining in JAX/Flax.",
        epilog="example: avssl pretrain --config configs/quickstart.py --workdir runs/quickstart",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from avssl import __version__

    parser.add_argument("--debug", **DEBUG)
    parser.add_argument("--version", action="version", version=f"avssl {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="verb", required=True)

    pretrain = verb(
        verbs, "pretrain", "train encoders on a source of videos", run_pretrain,
        "avssl pretrain --config configs/quickstart.py --workdir runs/quickstart "
        "--config.objectives.avc.weight=1",
    )  # fmt: skip
    add_training(pretrain)

    finetune = verb(
        verbs, "finetune", "train the encoders of a run on labels", run_finetune,
        "avssl finetune --config configs/finetune/world.py --init runs/quickstart --workdir runs/world-tuned",
    )  # fmt: skip
    add_training(finetune)

    add_evaluate(verbs)
    add_exchange(verbs)
    add_ablate(verbs)
    add_report(verbs)
    add_plan(verbs)

    add_teach(verb(
        verbs, "teach", "write what a trained encoder says of a source, for students", run_teach,
        "avssl teach --teacher runs/world-supervised --encoder audio --data world:quickstart@train "
        "--out runs/audio-targets --targets embedding,logits",
    ))  # fmt: skip

    add_data_verbs(verb(verbs, "data", "build, look at and check sources of videos", None,
                        "avssl data build folder:videos data/videos --workers 2"))  # fmt: skip

    listing = verb(verbs, "list", "what can be named in a config", run_list,
                   "avssl list objectives --verbose")  # fmt: skip
    listing.add_argument("what", choices=("objectives", "encoders", "frontends", "configs"))
    listing.add_argument("--verbose", action="store_true", help="with fields and defaults")

    add_bench_verbs(verb(verbs, "bench", "measure the pipeline or the step on this machine", None,
                         "avssl bench data world:quickstart@train"))  # fmt: skip
    return parser


def add_training(trains: Parser) -> None:
    """What the verbs that train take."""
    add_config(trains)
    trains.add_argument("--workdir", type=Path, required=True, help="run folder, made if absent")
    trains.add_argument(
        "--init", default="", metavar="RUN",
        help="run folder to start from, encoders and whatever else has the same name: --config.init_from",
    )  # fmt: skip
    trains.add_argument(
        "--allow-config-change", action="store_true", help="resume a run folder of another config"
    )
    trains.add_argument(
        "--profile", type=steps_between, default=None, metavar="steps=FIRST:LAST",
        help="write a trace of these steps, both included and as logs count them, into WORKDIR/profile",
    )  # fmt: skip
    for flag, kind, text in (
        ("--coordinator", str, "host:port of process 0, for runs of several processes"),
        ("--num-processes", int, "how many processes the run has"),
        ("--process-id", int, "which of them this is"),
    ):
        trains.add_argument(flag, type=kind, default=None, help=text)


def add_evaluate(verbs: Any) -> None:
    evaluate = verb(
        verbs, "evaluate", "probe the encoders of a run, beside their random initialisation", run_evaluate,
        "avssl evaluate --workdir runs/quickstart --data world:quickstart@train "
        "--test-data world:quickstart@test --protocols knn,linear,retrieval",
    )  # fmt: skip
    evaluate.add_argument(
        "--workdir", type=Path, required=True, nargs="+", metavar="RUN", help="run folder with checkpoints"
    )  # fmt: skip
    evaluate.add_argument(
        "--average", action="store_true",
        help="measure nothing: mean and spread over several run folders, such as folds, of their eval.json",
    )  # fmt: skip
    evaluate.add_argument(
        "--data", default="", help="source the probes train on (default: the config's)"
    )
    evaluate.add_argument("--test-data", default="", help="source they are scored on")
    evaluate.add_argument("--protocols", default="", help="comma-separated: knn,linear,retrieval")
    evaluate.add_argument(
        "--json", type=writable_file, default=None, help="also write the rows to this file"
    )
    evaluate.add_argument(
        "--results", type=writable_file, default=None, help="write the table into this Markdown file"
    )  # fmt: skip
    evaluate.add_argument("--title", default="", help="its section there (default: the run's name)")
    evaluate.add_argument(
        "--alpha", type=float, default=None, metavar="A",
        help="localization: also score the picture encoder's map of objects, and both fused with a share of A "
        "of the audio-visual one (default: the config's eval.alpha)",
    )  # fmt: skip
    evaluate.add_argument(
        "--object-encoder", default="", metavar="RUN[@ENCODER]",
        help="localization: the run whose picture encoder gives that map (default: the config's "
        "eval.object_encoder, else the run's own)",
    )  # fmt: skip
    evaluate.add_argument(
        "--released", default="", metavar="NAME",
        help="by rules of released code: of localization lvs, ez_vsl or ez_vsl_training, of detection "
        "mm_distillnet",
    )  # fmt: skip
    evaluate.add_argument(
        "--truth", default="", metavar="teachers|RUN",
        help="detection: by what the run's teachers see together, or those of another run, in the place of "
        "the data's boxes",
    )  # fmt: skip
    evaluate.add_argument(
        "--save-visualizations", type=Path, nargs="?", const=True, default=None, metavar="FOLDER",
        help="localization: heat maps over pictures, with boxes, as PNG (default: WORKDIR/heat_maps)",
    )  # fmt: skip
    evaluate.add_argument(
        "--layers", default="", metavar="NAMES",
        help="also probe these layers, comma-separated: video.layer2,audio.layer3 (default: the config's)",
    )  # fmt: skip
    evaluate.add_argument(
        "--clips", type=at_least(1), default=None, metavar="N",
        help="classification, tagging: average N windows over each clip (default: the config's eval.clips)",
    )  # fmt: skip
    evaluate.add_argument(
        "--crops", type=at_least(1), default=None, metavar="M",
        help="the same: of each window M crops along the longer side (default: the config's eval.crops)",
    )  # fmt: skip
    evaluate.add_argument(
        "--class-vectors", type=Path, default=None, metavar="FILE",
        help="zero_shot: a vector for each class by name, of the run's common space (.npz or .safetensors)",
    )  # fmt: skip


def add_exchange(verbs: Any) -> None:
    """Encoders out of run folders and into them."""
    export = verb(
        verbs, "export", "write the encoders of a run as a safetensors file with its config.json", run_export,
        "avssl export runs/quickstart encoders/quickstart.safetensors",
    )  # fmt: skip
    export.add_argument("run", type=Path, help="run folder with checkpoints")
    export.add_argument("out", type=Path, metavar="OUT.safetensors")
    export.add_argument(
        "--averaged",
        action="store_true",
        help="their moving average (ema.decay), where the run kept it",
    )
    export.add_argument(
        "--encoders",
        default="",
        metavar="NAMES",
        help="comma-separated: these alone (default: all)",
    )
    export.add_argument(
        "--heads",
        action="store_true",
        help="with their classifier or what finds boxes, so that they can teach logits or boxes",
    )
    imported = verb(
        verbs, "import", "make a run folder of exported encoders, or of official weights, to use as any run",
        run_import,
        "avssl import encoders/quickstart.safetensors runs/imported",
    )  # fmt: skip
    imported.add_argument(
        "file", type=Path, metavar="FILE",
        help="of `avssl export`, its config.json beside it; with --config anyone's .safetensors or .pth",
    )  # fmt: skip
    imported.add_argument("run", type=Path, help="run folder, made if absent")
    imported.add_argument(
        "--data", default="", metavar="SPEC",
        help="source that stands for its training data in evaluations (default: the one it was trained on)",
    )  # fmt: skip
    imported.add_argument(
        "--config", default="", metavar="FILE[:VARIANT]",
        help="of weights of other programs: a config that says their encoder, view and classifier, changed by "
        "--config.a.b=value",
    )  # fmt: skip
    imported.add_argument(
        "--classes", type=Path, default=None, metavar="FILE",
        help="with --config: names of the classifier's classes, one a line (default: not known)",
    )  # fmt: skip


def add_ablate(verbs: Any) -> None:
    ablate = verb(
        verbs, "ablate", "train the rows of an ablation and write their table with its claims", run_ablate,
        "avssl ablate --config configs/ablations/quick.py --workdir runs/quick-ablation --dry-run",
    )  # fmt: skip
    ablate.add_argument(
        "--config", required=True, metavar="FILE[:VARIANT]",
        help="an ablation file; of its runs, --config.a.b=value changes what moves no number",
    )  # fmt: skip
    ablate.add_argument(
        "--workdir", type=Path, required=True, help="holds a run folder of each run"
    )
    ablate.add_argument(
        "--results", type=Path, default=Path("RESULTS.md"), help="Markdown file of the table"
    )
    ablate.add_argument("--rows", default="", help="only these, comma-separated (default: all)")
    ablate.add_argument("--seeds", type=numbers_of, default=(), help="only these, e.g. 0,1,2")
    ablate.add_argument(
        "--jobs", type=at_least(1), default=1, metavar="N", help="runs at a time on this machine"
    )
    ablate.add_argument(
        "--shard", type=shard, default=None, metavar="I/N",
        help="part I of N alone, from 0, as a task of an array job does; writes no table",
    )  # fmt: skip
    ablate.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="also table.csv, table.tex and plot.svg",
    )
    ablate.add_argument(
        "--emit",
        choices=("slurm",),
        default="",
        help="write an array job of the parts, and run nothing",
    )
    ablate.add_argument(
        "--dry-run", "--list", action="store_true",
        help="say what is there, what would run, and for about how long",
    )  # fmt: skip


def add_report(verbs: Any) -> None:
    report = verb(
        verbs, "report", "write one self-contained HTML page of a run, or of several side by side", run_report,
        "avssl report runs/quickstart runs/mixed --out report.html",
    )  # fmt: skip
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    report.add_argument(
        "--out", type=writable_file, default=None, metavar="FILE",
        help="default: RUN/report.html, of the first run",
    )  # fmt: skip
    report.add_argument(
        "--no-clips", dest="clips", action="store_false",
        help="read no data: without gallery, heat maps and confusions",
    )  # fmt: skip


def add_plan(verbs: Any) -> None:
    plan = verb(
        verbs, "plan", "compile the step for a slice of a pod that is not here: does it fit, what bounds it?",
        run_plan,
        "avssl plan --config configs/pretrain/avid.py --topology v5e:16x16 --batch 4096",
    )  # fmt: skip
    plan.add_argument(
        "--config", default="", metavar="FILE[:VARIANT]", help="a config file, changed by --config.a.b=value"
    )  # fmt: skip
    plan.add_argument(
        "--topology", required=True, metavar="KIND:SIZE", help="v5e:16x16, v5p:4x4x8 ..., or cpu:8"
    )
    plan.add_argument(
        "--batch", type=at_least(1), default=0, metavar="N", help="the global batch: --config.batch_size"
    )  # fmt: skip
    table = plan.add_mutually_exclusive_group()
    table.add_argument(
        "--suggest", action="store_true", help="where it does not fit, try what would, by compiling it"
    )  # fmt: skip
    table.add_argument(
        "--sweep", action="store_true",
        help="a row for each size of slice up to this one, with as many clips a chip",
    )  # fmt: skip
    table.add_argument(
        "--compare", action="append", default=[], metavar="KEY=VALUE...",
        help="a row for the config as it is and one with these keys changed, blanks between; may be repeated",
    )  # fmt: skip
    table.add_argument(
        "--walk", type=writable_file, default=None, metavar="KEPT.jsonl",
        help="every config of paper scale, at --batch (256) or its own where larger; rows are kept there",
    )  # fmt: skip
    plan.add_argument(
        "--keep", type=writable_file, default=None, metavar="ROWS.jsonl",
        help="--sweep, --compare: keep rows there and take those that are, as --walk does",
    )  # fmt: skip
    plan.add_argument(
        "--results", type=writable_file, default=None,
        help="--walk, --sweep, --compare: write the table into this Markdown file",
    )  # fmt: skip


def add_teach(teach: Parser) -> None:
    teach.add_argument(
        "--teacher", required=True, metavar="RUN",
        help="run folder of the teacher, or a file of Python with get_teacher()",
    )  # fmt: skip
    teach.add_argument("--encoder", default="", help="its encoder (default: the only one)")
    teach.add_argument(
        "--data", required=True, metavar="SPEC", help="source of the students' clips"
    )
    teach.add_argument("--out", required=True, metavar="STORE", help="folder, made if absent")
    teach.add_argument(
        "--targets", default="embedding",
        help="comma-separated: embedding,map,logits; of detectors boxes,attention",
    )  # fmt: skip
    teach.add_argument(
        "--every-seconds", type=float, default=0.0, metavar="S",
        help="windows that begin every so often (default: the middle of each record)",
    )  # fmt: skip
    teach.add_argument("--dtype", default="float16", help="of the numbers: float16 or float32")
    teach.add_argument(
        "--top-k", type=at_least(1), default=0, metavar="K", help="keep the K largest logits alone"
    )
    teach.add_argument("--precision", default="float32", help="of the arithmetic: float32 or bf16")
    teach.add_argument("--batch-size", type=at_least(1), default=64, help="windows at a time")
    teach.add_argument("--workers", type=at_least(0), default=0, help="processes that decode")
    teach.add_argument("--host", type=at_least(0), default=0, help="of several, which one this is")
    teach.add_argument("--num-hosts", type=at_least(1), default=1, help="that share the shards")
