"""A pretraining run, from a resolved config to a run folder.

The order never varies: folder, data, teachers, model, mesh, state, start policy, compile, loop, table.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from avssl.config import ConfigDict, differences, from_json, to_json
from avssl.console import say
from avssl.data.feed import DeviceFeed
from avssl.data.open import open_source
from avssl.data.overlap import warn_of_shared
from avssl.data.record import Source
from avssl.errors import AvsslError, UsageError
from avssl.teachers.open import NO_TEACHERS, Teachers, open_teachers
from avssl.train.build_model import build_model
from avssl.train.checkpoint import Checkpoints
from avssl.train.checkpoint_reader import CheckpointReader, read_checkpoint
from avssl.train.evaluations import StepEvaluations, write_last
from avssl.train.finite import check_state
from avssl.train.loop import Completeness, Faults, Gaps, Loop, sync_processes
from avssl.train.mesh import check_batch_divides, make_mesh, rows_of_process, state_shardings
from avssl.train.mixup import mixup_of
from avssl.train.model import Model
from avssl.train.optim import build_optimizer
from avssl.train.preemption import Preemption, nothing_to_save
from avssl.train.profile import StepProfile, Steps, check_steps
from avssl.train.progress import Progress, parameter_table
from avssl.train.refresh import Refresher
from avssl.train.runlog import RunLog, write_config
from avssl.train.sources import open_data
from avssl.train.start import continued, fresh_memory, graft, items_of_start
from avssl.train.state import TrainState, initial_state
from avssl.train.step import PlacedStep, place_step
from avssl.train.stream import (
    check_needs,
    lookers_in_doubt,
    training_indices,
    training_pipeline,
)


@dataclasses.dataclass(frozen=True)
class Setup:
    """What does not change during a run."""

    config: ConfigDict
    model: Model
    mesh: Mesh
    abstract: TrainState
    shardings: Any
    frozen_shardings: Any  # of the teachers' variables
    initialise: Callable[[], TrainState]
    step: PlacedStep


def pretrain(
    config: ConfigDict,
    workdir: Path,
    *,
    allow_config_change: bool = False,
    profile: Steps | None = None,
) -> None:
    """Trains until `config.steps`, or goes on where the run folder stopped; ends with the probe table."""
    is_main = jax.process_index() == 0
    check_steps(profile, config.steps)
    check_batch_divides(config.batch_size, config.optimizer.accumulate, jax.device_count())
    source = open_data(config, config.data.source)
    config, teachers = open_teachers(with_num_records(config, source), source)
    check_folder(config, workdir, allow_config_change)
    model = build_model(config)
    check_lessons(model, config.steps)
    indices = training_indices(config, source, model)
    check_needs(source, indices, model)
    # Refuses a batch larger than the data.
    training_pipeline(config, source, model, indices, teachers)
    if config.eval.protocols:
        check_evaluation(config, source, indices)
    with Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep) as checkpoints:
        last = checkpoints.latest()
        if last is not None:
            meta = checkpoints.meta(last)
            check_same_data(meta, source, config)
            changed = check_same_config(meta["config"], config, workdir, allow_config_change)
            if changed:
                say(f"config changed: {'; '.join(changed)}")
        # Only the owner of the checkpoints writes here: not a second start, nor one that was refused.
        write_config(workdir, to_json(config))
        if last is None or last < config.steps:
            train(config, workdir, model, source, indices, checkpoints, last, teachers, profile)
        else:
            say(f"finished already: {workdir} holds step {last} of {config.steps}")
    sync_processes("trained")
    with nothing_to_save():
        if is_main and config.eval.protocols:
            evaluate_last(config, workdir)
        sync_processes("evaluated")


def check_lessons(model: Model, steps: int) -> None:
    """Refuses a run that is over before an objective begins to teach."""
    for objective in model.objectives.values():
        key = objective.waits_by
        if key and (first := getattr(objective, key)) >= steps:
            raise UsageError(
                f"{objective.config_key} teaches nothing before step {first}, and steps={steps}: set "
                f"{objective.config_key}.{key} to fewer, or steps to more"
            )


def evaluate_last(config: ConfigDict, workdir: Path) -> None:
    from avssl.evaluate.run import evaluate_folder

    try:
        rows = evaluate_folder(workdir)
        if rows and config.eval.get("every_steps"):
            write_last(workdir, config.steps, rows)
    except UsageError as error:
        # The training is done and saved, whatever its data allow to be measured.
        say(f"no table of results: {error}")


def check_evaluation(config: ConfigDict, source: Source, indices: np.ndarray) -> None:
    """Says now, and not after days of training, what is wrong with the final table."""
    from avssl.evaluate.run import check_options

    check_options(config)
    if config.eval.data:
        open_source(config.eval.data)
    if config.eval.test_data:
        test = open_source(config.eval.test_data)
        if jax.process_index() == 0:
            scored = test, np.arange(len(test))
            warn_of_shared(scored, (source, indices), "that are trained on")


def train(
    config: ConfigDict,
    workdir: Path,
    model: Model,
    source: Source,
    indices: np.ndarray,
    checkpoints: Checkpoints,
    last: int | None,
    teachers: Teachers,
    profile: Steps | None = None,
) -> None:
    """The part between the start policy and the last checkpoint, stage by stage of a curriculum."""
    start = last or 0
    state = frozen = None

    @contextlib.contextmanager
    def at_once() -> Iterator[None]:
        checkpoints.wait()
        with preemption.at_once():
            yield

    with (
        Preemption() as preemption,
        RunLog(workdir, resume_step=start) as log,
        StepEvaluations(config, workdir, start, at_once) as evaluations,
        Progress(start, config.steps) as progress,
        StepProfile(profile, workdir / "profile", start) as traced,
    ):

        def write(step: int, metrics: dict[str, float]) -> None:
            log.append(step, metrics)
            progress.update(step, metrics)

        def save(step: int, state: TrainState) -> None:
            check_state(step, state)
            checkpoints.save(step, state.items(), metadata(config, source, step))

        for begin, end in stages(model, start, config.steps):
            stage = build_model(config, begin)
            setup = build_setup(config, model, stage=stage, teachers=teachers)
            rows = rows_of_process(setup.mesh, config.batch_size)
            pipeline = training_pipeline(config, source, stage, indices, teachers, rows)
            if frozen is None:
                frozen = teachers.place(setup.frozen_shardings)
            with DeviceFeed(pipeline.batches(begin), setup.step.place) as feed:
                if state is None:
                    state = start_state(setup, checkpoints, last, source.fingerprint)
                loop = Loop(
                    step_function=compiled(setup, stage, state, frozen),
                    feed=feed,
                    start=begin,
                    steps=end,
                    batch_size=config.batch_size,
                    log_every_steps=config.log_every_steps,
                    checkpoint_every_steps=config.checkpoint.every_steps,
                    save=save,
                    log=write,
                    faults=Faults(config.data.max_bad_fraction, pipeline.names_of),
                    gaps=Gaps(config.data.max_bad_fraction, source.key, frozenset(teachers.stores)),
                    stop_requested=preemption.requested,
                    refresh=Refresher(
                        stage,
                        config,
                        source,
                        indices,
                        setup.mesh,
                        setup.shardings,
                        preemption.requested,
                        pipeline.reader,
                    ),
                    evaluations=evaluations,
                    profile=traced,
                    completeness=Completeness(
                        lookers_in_doubt(source, stage), source.spec, resumed=begin > 0
                    ),
                )
                try:
                    state = loop.run(state)
                finally:
                    # Inside Preemption: a second signal must not kill the save under way.
                    checkpoints.wait()


def stages(model: Model, start: int, steps: int) -> list[tuple[int, int]]:
    """(first step, end) of each part of a run in which the objectives read the same and do the same."""
    borders = {border for one in model.objectives.values() for border in one.stage_steps()}
    points = [start, *sorted(border for border in borders if start < border < steps), steps]
    return list(itertools.pairwise(points))


def with_num_records(config: ConfigDict, source: Source) -> ConfigDict:
    """The config with the size of the data that is there, which memory with a row per record depends on."""
    config = from_json(config.to_dict())
    config.data.num_records = len(source)
    return config


def check_folder(config: ConfigDict, workdir: Path, allow_config_change: bool) -> None:
    """Refuses a run folder of another config, before anything is built."""
    file = workdir / "config.json"
    # A run that was stopped before its first checkpoint binds nobody.
    if file.exists() and CheckpointReader(workdir / "checkpoints").steps():
        try:
            written = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(
                f"{file} is damaged ({error}): put back a copy of it; every checkpoint holds one in its `meta`"
            ) from error
        check_same_config(written, config, workdir, allow_config_change)


def check_same_config(
    written: dict[str, Any], config: ConfigDict, workdir: Path, allow_config_change: bool
) -> list[str]:
    """What moves the numbers between the two, where that is allowed."""
    changed = differences(written, to_json(config))
    if changed and not allow_config_change:
        raise UsageError(
            f"{workdir} holds a run of another config ({'; '.join(changed)}); take another --workdir, "
            "or --allow-config-change to go on with the new values"
        )
    return changed


def build_setup(
    config: ConfigDict,
    model: Model,
    devices: Sequence[Any] | None = None,
    stage: Model | None = None,
    teachers: Teachers = NO_TEACHERS,
) -> Setup:
    """Optimiser, mesh, shardings and the placed step; on some of the devices, or on all.

    stage: the part of the model that the step trains, by default all of it.
    """
    by_process = config.parallel.mode == "pmap"
    mesh = make_mesh(config.parallel.fsdp, devices, by_process=by_process)
    kinds = {name: encoder.name for name, encoder in config.encoders.items()}
    optimizer = build_optimizer(config.optimizer, config.steps, kinds)

    def initialise() -> TrainState:
        return initial_state(model, optimizer, config.seed, config.ema.decay)

    abstract = abstract_state(initialise)
    shardings = state_shardings(abstract, mesh, config.parallel.rules)
    frozen_shardings = state_shardings(teachers.variables, mesh, config.parallel.rules)
    taught = (stage or model).taught
    step = place_step(
        stage or model,
        optimizer,
        mesh,
        shardings,
        frozen_shardings,
        mode=config.parallel.mode,
        seed=config.seed,
        accumulate=config.optimizer.accumulate,
        ema_decay=config.ema.decay,
        teach=functools.partial(teachers.teach, taught) if taught else None,
        mixup=mixup_of(config, mesh.size),
    )
    return Setup(config, model, mesh, abstract, shardings, frozen_shardings, initialise, step)


def abstract_state(initialise: Callable[[], TrainState]) -> TrainState:
    """The shapes of the state: where sizes that do not fit each other show, before anything is compiled."""
    try:
        return jax.eval_shape(initialise)
    except AvsslError:
        raise
    except Exception as error:
        words = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"no model can be built from these encoders, views and objectives: {type(error).__name__}: "
            f"{words}; --debug shows where"
        ) from error


def fresh_state(setup: Setup) -> TrainState:
    """The initial state, made where it lies."""
    # It runs once: on CPU to optimise it takes seconds, and saves milliseconds.
    on_cpu = setup.mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    return jax.jit(setup.initialise, out_shardings=setup.shardings, compiler_options=options)()


def start_state(
    setup: Setup, checkpoints: Checkpoints, last: int | None, fingerprint: str
) -> TrainState:
    """Own checkpoint > `init_from` > scratch. fingerprint: of the data that is trained on."""
    config = setup.config
    if last is not None:
        abstract = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            setup.abstract,
            setup.shardings,
        )
        state = abstract.with_items(checkpoints.restore(last, abstract.items()))
        say(f"start: checkpoint of step {last} in {checkpoints.folder}")
    else:
        state = fresh_state(setup)
        objectives, given = setup.model.objectives, {}
        if config.init_from:
            folder = Path(config.init_from)
            step, given = read_checkpoint(
                folder / "checkpoints", items_of_start(objectives), together=True
            )
            given = continued(given, objectives, fingerprint, folder)
            state, taken = graft(state, given, folder)
            say(f"start: step {step} of {folder} (init_from): {taken}")
        else:
            say(f"start: scratch, seed {config.seed}")
        for line in fresh_memory(objectives, given):
            say(line)
    if jax.process_index() == 0:
        say(parameter_table(state.params))
    return state


def compiled(setup: Setup, stage: Model, state: TrainState, frozen: Any) -> Any:
    """The step with its teachers, (state, batch) -> (state, logs).

    Compiled while the first batches are read, so that compile time is not step time.
    """
    started = time.perf_counter()
    function = setup.step.compile(state, frozen, stage.example_batch, setup.config.batch_size)
    devices = f"{jax.device_count()} {jax.devices()[0].platform} device(s)"
    say(f"compiled the step in {time.perf_counter() - started:.1f} s for {devices}")
    return lambda state, batch: function(state, frozen, batch)


def metadata(config: ConfigDict, source: Source, step: int) -> dict[str, Any]:
    return {
        "step": step,
        "config": to_json(config),
        "data_fingerprint": source.fingerprint,
        "label_names": list(source.label_names),
    }


def check_same_data(meta: dict[str, Any], source: Source, config: ConfigDict) -> None:
    """Batch k is a function of the data too: a source that changed under the run is refused."""
    if meta["data_fingerprint"] != source.fingerprint:
        raise UsageError(
            f"data.source '{config.data.source}' is not the data this run was trained on "
            f"(fingerprint {source.fingerprint[:12]}, the checkpoint's is "
            f"{meta['data_fingerprint'][:12]}); restore the data or take another --workdir"
        )
