"""What each verb of the command line does: a few lines that call one room.

Rooms are imported inside the verbs, so that `--help` and a mistyped flag answer at once.
"""

import argparse
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avssl.errors import AvsslError, UsageError
from avssl.failures import report

# Flags of `evaluate` that say how something is measured.
MEASURING = (
    "data", "test_data", "protocols", "alpha", "object_encoder", "released", "truth",
    "save_visualizations", "clips", "crops", "class_vectors", "layers")  # fmt: skip

# What each config of `avssl plan --walk` has at least.
WALKED_BATCH = 256


def named(text: str) -> tuple[str, ...]:
    """The names of a comma-separated flag."""
    return tuple(name for name in text.split(",") if name)


def config_of(arguments: argparse.Namespace, *, trains: bool = True):
    from avssl.config import load_config, override, resolve

    config = load_config(arguments.config)
    override(config, arguments.overrides)
    if init := getattr(arguments, "init", ""):
        if any(key == "init_from" and value != init for key, value in arguments.overrides):
            raise UsageError("--init is short for --config.init_from: give one of them")
        config.init_from = init
    return resolve(config, trains=trains)


def run_pretrain(arguments: argparse.Namespace) -> int:
    config = config_of(arguments)
    from avssl.train.mesh import start_processes
    from avssl.train.peers import together
    from avssl.train.preemption import stopping_at_once
    from avssl.train.run import pretrain

    set_up_jax(config.precision)
    with stopping_at_once():
        start_processes(arguments.coordinator, arguments.num_processes, arguments.process_id)
        with together(lambda error: report(error, arguments.debug)):
            pretrain(
                config,
                arguments.workdir,
                allow_config_change=arguments.allow_config_change,
                profile=arguments.profile,
            )
    return 0


def run_finetune(arguments: argparse.Namespace) -> int:
    if not arguments.init and not any(key == "init_from" for key, _ in arguments.overrides):
        print("no --init RUN: trains from scratch", flush=True)
    return run_pretrain(arguments)


def run_evaluate(arguments: argparse.Namespace) -> int:
    from avssl.config import run_config
    from avssl.evaluate.average import average_folders
    from avssl.evaluate.places import MapOptions
    from avssl.evaluate.run import Asked, evaluate_folder

    if arguments.average:
        given = [name for name in MEASURING if getattr(arguments, name) not in ("", None)]
        if given:
            raise UsageError(
                f"--average takes what stands in each eval.json: leave out --{given[0].replace('_', '-')}"
            )
        written = {name: getattr(arguments, name) for name in ("results", "title")}
        average_folders(arguments.workdir, json_file=arguments.json, **written)
        return 0
    if len(arguments.workdir) > 1:
        raise UsageError(
            "several run folders are averaged: add --average, or evaluate one at a time"
        )
    [workdir] = arguments.workdir
    maps = None if arguments.alpha is None else MapOptions(arguments.alpha)
    pictures = arguments.save_visualizations
    set_up_jax(run_config(workdir).precision)
    asked = Asked(
        data=arguments.data,
        test_data=arguments.test_data,
        protocols=named(arguments.protocols),
        maps=maps,
        released=arguments.released,
        truth=arguments.truth,
        object_encoder=arguments.object_encoder,
        clips=arguments.clips,
        crops=arguments.crops,
        class_vectors=arguments.class_vectors,
        layers=named(arguments.layers),
    )
    rows = evaluate_folder(
        workdir,
        asked,
        json_file=arguments.json,
        results=arguments.results,
        title=arguments.title,
        pictures=workdir / "heat_maps" if pictures is True else pictures,
    )
    if not rows:
        raise UsageError("nothing was measured; say what to measure with --protocols")
    return 0


def run_teach(arguments: argparse.Namespace) -> int:
    from avssl.config import run_config
    from avssl.teachers.spec import is_function
    from avssl.teachers.teach import teach

    run = arguments.teacher
    set_up_jax("float32" if is_function(run) else run_config(Path(run)).precision)
    report = teach(
        run, arguments.data, arguments.out, encoder=arguments.encoder, targets=named(arguments.targets),
        every_seconds=arguments.every_seconds, dtype=arguments.dtype, top_k=arguments.top_k,
        precision=arguments.precision, batch_size=arguments.batch_size, workers=arguments.workers,
        host=arguments.host, num_hosts=arguments.num_hosts,
    )  # fmt: skip
    print(report.summary())
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    from avssl.convert.export import export_encoders

    chosen = named(arguments.encoders)
    said = export_encoders(
        arguments.run, arguments.out, averaged=arguments.averaged, encoders=chosen,
        heads=arguments.heads,
    )  # fmt: skip
    print(said)
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    from avssl.convert.encoder_file import read_config
    from avssl.convert.import_run import import_encoders

    if arguments.config:
        from avssl.convert.import_weights import import_weights

        if arguments.data:
            raise UsageError("--data is of exports; with --config give --config.data.source")
        config = config_of(arguments, trains=False)
        set_up_jax(config.precision)
        print(import_weights(arguments.file, arguments.run, config, arguments.classes))
        return 0
    if arguments.classes is not None:
        raise UsageError("--classes is of weights of other programs: give their --config")
    set_up_jax(str(read_config(arguments.file).get("precision")))
    print(import_encoders(arguments.file, arguments.run, data=arguments.data))
    return 0


def run_ablate(arguments: argparse.Namespace) -> int:
    from avssl.ablate.run import ablate

    ablate(
        arguments.config,
        arguments.workdir,
        results=arguments.results,
        rows=named(arguments.rows),
        seeds=arguments.seeds,
        overrides=arguments.overrides,
        jobs=arguments.jobs,
        shard=arguments.shard,
        out=arguments.out,
        emit=arguments.emit,
        dry_run=arguments.dry_run,
    )
    return 0


def run_report(arguments: argparse.Namespace) -> int:
    from avssl.config import run_config
    from avssl.report.page import write_report

    precisions = {run_config(folder).precision for folder in arguments.runs}
    set_up_jax("float64" if "float64" in precisions else "float32")
    write_report(arguments.runs, arguments.out, clips=arguments.clips)
    return 0


def run_plan(arguments: argparse.Namespace) -> int:
    from avssl.plan.topology import prepare

    if bool(arguments.config) == (arguments.walk is not None):
        raise UsageError("plan takes --config FILE, or --walk KEPT.jsonl for all configs")
    if arguments.results and not (arguments.sweep or arguments.walk or arguments.compare):
        raise UsageError(
            "plan writes --results of a table: give --sweep, --compare or --walk with it"
        )
    if arguments.keep and not (arguments.sweep or arguments.compare):
        raise UsageError("plan keeps the rows of a table: give --sweep or --compare with --keep")
    # Before anything asks JAX for its devices.
    prepare(arguments.topology)
    for line in planning(arguments):
        print(line, flush=True)
    return 0


def planning(arguments: argparse.Namespace) -> Iterator[str]:
    from avssl.plan.compare import compare
    from avssl.plan.run import plan
    from avssl.plan.sweep import sweep
    from avssl.plan.walk import walk

    topology, batch = arguments.topology, arguments.batch
    if arguments.walk is not None:
        set_up_jax("float32")
        return walk(topology, batch or WALKED_BATCH, arguments.walk, arguments.results)
    if batch:
        arguments.overrides.append(("batch_size", str(batch)))
    config = config_of(arguments)
    set_up_jax(config.precision)
    if arguments.sweep:
        return sweep(config, topology, arguments.results, arguments.keep)
    if arguments.compare:
        title = f"Flags of {arguments.config} for {topology}, batch {config.batch_size}"
        return compare(
            config, topology, arguments.compare, title, arguments.results, arguments.keep
        )
    return plan(config, topology, suggest=arguments.suggest)


def run_data_build(arguments: argparse.Namespace) -> int:
    from avssl.data.build import build

    report = build(
        arguments.spec, arguments.out, short_side=arguments.short_side, gop=arguments.gop,
        audio_rate=arguments.audio_rate, video_format=arguments.video_format, fps=arguments.fps,
        workers=arguments.workers,
        require=named(arguments.require),
        allow_outside=arguments.allow_outside,
    )  # fmt: skip
    print(report.summary())
    return 0


def run_data_guide(arguments: argparse.Namespace) -> int:
    from avssl.data.guide import listing, page

    print(page(arguments.name) if arguments.name else listing())
    return 0


def run_data_inspect(arguments: argparse.Namespace) -> int:
    from avssl.data.inspect import inspect

    seen = inspect(arguments.spec, str(arguments.out), num=arguments.num)
    print(seen.table, f"pictures: {seen.contact_sheet} and {seen.spectrogram}", sep="\n")
    return 0


def run_data_verify(arguments: argparse.Namespace) -> int:
    from avssl.data.keys import printable
    from avssl.data.verify import verify

    bad = verify(arguments.spec, workers=arguments.workers)
    for key, reason in bad:
        print(f"bad: {printable(key)}: {printable(reason)}")
    if bad:
        raise AvsslError(
            f"{len(bad)} records of {arguments.spec} are bad; `avssl data build` leaves them out"
        )
    print(f"{arguments.spec}: no bad records")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    from avssl.listing import listing

    print(listing(arguments.what, verbose=arguments.verbose))
    return 0


def run_bench_data(arguments: argparse.Namespace) -> int:
    from avssl.bench.data import bench_data
    from avssl.config import base
    from avssl.data.views import build_views
    from avssl.heap import keep_freed_memory

    keep_freed_memory(one_arena=False)
    config = config_of(arguments) if arguments.config else base()
    joins = None
    if any(teacher.store for teacher in config.teachers.values()):
        from avssl.train.stream import joins_of

        joins = partial(joins_of, config)
    built = build_views(config.views.to_dict())
    for line in bench_data(
        arguments.spec, built, num_clips=arguments.clips, joins=joins, versus=arguments.vs,
        workers=arguments.workers, results=arguments.results, name=arguments.config,
    ):  # fmt: skip
        print(line)
    return 0


def run_bench_files(arguments: argparse.Namespace) -> int:
    from avssl.bench.files import bench_files

    lines = bench_files(arguments.folder, num_files=arguments.files, seconds=arguments.seconds)
    for line in lines:
        print(line, flush=True)
    return 0


def run_bench_step(arguments: argparse.Namespace) -> int:
    config = config_of(arguments)
    if arguments.vs:
        # On a GPU JAX would take most of its memory before PyTorch asks for any.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    from avssl.bench.step import bench_step

    set_up_jax(config.precision)
    # The compiler's time is measured, not that of a look into the cache.
    jax.config.update("jax_enable_compilation_cache", False)
    for line in bench_step(
        config, num_steps=arguments.steps, against=arguments.vs, results=arguments.results,
        name=arguments.config,
    ):  # fmt: skip
        print(line, flush=True)
    return 0


def run_bench_clusters(arguments: argparse.Namespace) -> int:
    from avssl.bench.clusters import bench_clusters
    from avssl.bench.section import written

    if bad := [k for k in arguments.clusters if not 1 <= k <= arguments.rows]:
        raise UsageError(f"--clusters {bad[0]}: between 1 and --rows {arguments.rows}")
    set_up_jax("float32")
    lines = bench_clusters(arguments.rows, arguments.dim, arguments.clusters)
    title = f"k-means of {arguments.rows:,} x {arguments.dim}"
    for line in written(lines, arguments.results, title):
        print(line, flush=True)
    return 0


def run_bench_bank(arguments: argparse.Namespace) -> int:
    from avssl.bench.bank import bench_bank
    from avssl.bench.section import written

    set_up_jax("float32")
    lines = bench_bank(
        arguments.rows, arguments.dim, batch_size=arguments.batch_size,
        num_negatives=arguments.negatives, num_steps=arguments.steps, fsdp=arguments.fsdp,
    )  # fmt: skip
    title = f"Memory banks of {arguments.rows:,} x {arguments.dim}"
    if arguments.fsdp > 1:
        title += f", split {arguments.fsdp} ways"
    for line in written(lines, arguments.results, title):
        print(line, flush=True)
    return 0


def run_bench_teachers(arguments: argparse.Namespace) -> int:
    from avssl.bench.teachers import bench_teachers

    config = config_of(arguments)
    set_up_jax(config.precision)
    for line in bench_teachers(
        config, num_clips=arguments.clips, num_steps=arguments.steps, results=arguments.results
    ):
        print(line, flush=True)
    return 0


# What these say is all that they do.
ONLY_PRINTING = {
    run_list, run_data_guide, run_data_inspect, run_data_verify, run_bench_data, run_bench_step,
    run_bench_clusters, run_bench_bank,
}  # fmt: skip


def set_up_jax(precision: str) -> None:
    """Before the first array is made: memory for a CPU's steps, float64, and a cache of compiled programs."""
    import jax

    from avssl.data.cache import cache_folder
    from avssl.heap import has_accelerator, keep_freed_memory

    keep_freed_memory(one_arena=not has_accelerator())
    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
