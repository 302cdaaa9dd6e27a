"""What objectives recompute from the whole data between two steps: clusters, labels, positive sets.

Order in the loop: save, refresh, next. So a kill inside a refresh repeats it, and the state that it leaves is a
function of the state before and of the step.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from avssl.config import ConfigDict
from avssl.console import say
from avssl.data.feed import DeviceFeed
from avssl.data.pipeline import evaluation_batches
from avssl.data.reader import BatchReader
from avssl.data.record import Source, tags_of
from avssl.objectives.base import Outputs, Owned
from avssl.train.mesh import batch_sharding, path_name, place_on_mesh, rows_of_process
from avssl.train.model import Model, purpose_key
from avssl.train.preemption import StopAsked
from avssl.train.state import TrainState


@dataclasses.dataclass
class Refresher:
    """The refreshes of a run: `refresh(step, state)` gives the state that the next step starts from."""

    model: Model
    config: ConfigDict
    source: Source
    indices: np.ndarray  # of the records that are trained on
    mesh: Mesh
    shardings: Any
    stop_requested: Callable[[], bool]  # the same on every process
    reader: BatchReader | None = None  # of the training batches, to share its cache
    compiled: dict[tuple[bool | str, ...], Callable[..., Any]] = dataclasses.field(
        default_factory=dict
    )

    def __call__(self, step: int, state: TrainState) -> TrainState:
        due = [name for name, one in self.model.objectives.items() if one.refresh_due(step)]
        for draws in (False, True):
            of_kind = [
                name for name in due
                if self.model.objectives[name].refresh_pass
                and self.model.objectives[name].refresh_draws == draws
            ]  # fmt: skip
            if of_kind:
                state = self.with_pass(step, state, of_kind, draws)
        for name in due:
            if not self.model.objectives[name].refresh_pass:
                known = self.tags() if self.model.objectives[name].refresh_tags else self.labels()
                state = self.refreshed(step, state, name, known, jnp.zeros((0,), bool))
        return state

    def labels(self) -> Outputs:
        """What no media have to be read for, by record: the label of those that are trained on."""
        labels = np.full(self.config.data.num_records, -1, np.int32)
        labels[self.indices] = np.asarray(self.source.labels(), np.int32)[self.indices]
        return {"label": jnp.asarray(labels)}

    def tags(self) -> Outputs:
        """The same of all classes of a record: int8 [num_records, num_classes], -1 where it is not known."""
        sets, known = tags_of(self.source, self.indices)
        tags = np.full((self.config.data.num_records, sets.shape[1]), -1, np.int8)
        tags[self.indices] = np.where(known, sets, -1)
        return {"tags": jnp.asarray(tags)}

    def with_pass(
        self, step: int, state: TrainState, names: Sequence[str], draws: bool
    ) -> TrainState:
        """One pass over the data for all objectives that want the same one."""
        started = time.perf_counter()
        kept, seen = self.collect(step, state, names, draws)
        for name in names:
            state = self.refreshed(step, state, name, kept[name], seen)
        jax.block_until_ready(state.memory)
        seconds = time.perf_counter() - started
        say(
            f"step {step}: refreshed {', '.join(names)} from {len(self.indices)} records in {seconds:.1f} s"
        )
        return state

    def collect(
        self, step: int, state: TrainState, names: Sequence[str], draws: bool
    ) -> tuple[dict[str, Outputs], Array]:
        """What each objective keeps of every record, rows split over all devices; and which rows were met."""
        model = self.model.only(names)
        if not draws:
            model = model.without_draws()
        if (draws, *names) not in self.compiled:
            self.compiled[draws, *names] = outputs_of(model, names, draws=draws)
        num_records = self.config.data.num_records
        batches = evaluation_batches(
            self.source,
            dict(model.views),
            batch_size=self.config.batch_size,
            indices=self.indices,
            workers=self.config.data.workers,
            # Other windows and crops in each pass; what is drawn on the device is by `key`.
            seed=self.config.seed + step if draws else 0,
            rows=rows_of_process(self.mesh, self.config.batch_size),
            reader=self.reader,
        )
        place = place_on_mesh(self.mesh)
        variables = state.variables()
        key = jax.random.fold_in(purpose_key(jax.random.key(self.config.seed), "refresh"), step)
        table: Any = None
        with DeviceFeed(batches, place) as feed:
            for batch in feed:
                if self.stop_requested():
                    raise StopAsked
                found = self.compiled[draws, *names](variables, batch, key)
                if table is None:
                    table = self.empty_table(found, num_records)
                table = filled(table, found, batch["index"], batch["mask"])
        kept, seen = table
        return kept, seen

    def empty_table(self, found: Any, num_records: int) -> Any:
        """Zeros for every record; as many more rows as let all devices hold equally many."""
        rows = -(-num_records // self.mesh.size) * self.mesh.size
        sharding = batch_sharding(self.mesh)
        make = functools.partial(jnp.zeros, device=sharding)
        kept = jax.tree.map(lambda leaf: make((rows, *leaf.shape[1:]), leaf.dtype), found)
        return kept, make((rows,), bool)

    def refreshed(
        self, step: int, state: TrainState, name: str, kept: Outputs, seen: Array
    ) -> TrainState:
        """The state after one objective's refresh, each array where it was."""
        objective = self.model.objectives[name]
        key = jax.random.fold_in(
            purpose_key(jax.random.key(self.config.seed), f"refresh {name}"), step
        )
        old = Owned(
            state.params["objectives"][name],
            state.memory[name],
            state.batch_stats["objectives"][name],
        )
        new = objective.refresh(old, kept, seen, step, key)
        state = dataclasses.replace(
            state,
            params=replaced(state.params, name, new.params, self.shardings.params),
            memory={
                **state.memory,
                name: jax.device_put(new.memory, self.shardings.memory[name]),
            },
        )
        if new.params is old.params:
            return state
        changed = changed_names(old.params, new.params, f"objectives/{name}")
        ema = replaced(state.ema, name, new.params, self.shardings.ema) if state.ema else state.ema
        return dataclasses.replace(
            state, opt_state=without_moments(state.opt_state, changed), ema=ema
        )


def replaced(params: Any, name: str, new: Any, shardings: Any) -> Any:
    """The tree of all parameters with those of one objective exchanged; copies, as steps donate them."""
    placed = jax.device_put(jax.tree.map(jnp.copy, new), shardings["objectives"][name])
    return {**params, "objectives": {**params["objectives"], name: placed}}


def changed_names(old: Any, new: Any, prefix: str) -> set[str]:
    """Paths of the leaves that are other arrays than before."""
    before = jax.tree_util.tree_leaves_with_path(old)
    after = jax.tree.leaves(new)
    return {
        f"{prefix}/{path_name(path)}"
        for (path, leaf), other in zip(before, after, strict=True)
        if leaf is not other
    }


def without_moments(opt_state: Any, names: set[str]) -> Any:
    """Zero wherever the optimiser keeps something about these parameters."""

    def reset(path: Any, leaf: Any) -> Any:
        name = path_name(path)
        about_one = any(name.endswith(f"/{parameter}") for parameter in names)
        return jnp.zeros_like(leaf, device=leaf.sharding) if about_one else leaf

    return jax.tree_util.tree_map_with_path(reset, opt_state)


def outputs_of(model: Model, names: Sequence[str], *, draws: bool) -> Callable[..., Any]:
    """(variables, batch, key) -> what each objective keeps of the rows of a batch; compiled."""

    @jax.jit
    def found(variables: Any, batch: Any, key: Array) -> Any:
        if draws:
            # All batches of a pass have one key: its draws are told apart by record.
            batch = {**batch, "row": batch["index"]}
        features, _ = model.features(variables, batch, key, train=False, draws=draws)
        kept = {}
        for name in names:
            objective = model.objectives[name]
            kept[name] = objective.apply(
                {
                    "params": variables["params"]["objectives"][name],
                    "memory": variables["memory"][name],
                    "batch_stats": variables["batch_stats"]["objectives"][name],
                },
                model.read_by(objective, features), batch, method="refresh_outputs",
            )  # fmt: skip
        return kept

    return found


@functools.partial(jax.jit, donate_argnums=0)
def filled(table: Any, found: Any, index: Array, mask: Array) -> Any:
    kept, seen = table
    # Padding goes past the end, where nothing is written.
    row = jnp.where(mask, index, len(seen))
    kept = jax.tree.map(lambda rows, leaf: rows.at[row].set(leaf, mode="drop"), kept, found)
    return kept, seen.at[row].set(True, mode="drop")
