"""The step: `(state, batch) -> (state, logs)`, pure, the same for every objective and every mode.

The seam between the per-example half of the model and its loss is here, and only here: on a mesh the arrays
are global already and it does nothing; under pmap it gathers. Gradients of a gathered loss: every device
computes the whole loss, the transpose of the gather sums the devices' equal cotangents, so a local gradient is
n times this device's share, and their mean is the gradient of the global loss.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from avssl.losses.blocks import join_rows, split_rows
from avssl.train.lookers import INCOMPLETE, lookers
from avssl.train.mesh import batch_sharding, place_for_pmap, place_on_mesh, replicated
from avssl.train.mixup import Mixup, mixed
from avssl.train.model import Model, purpose_key, without_views
from avssl.train.state import TrainState

Logs = dict[str, Array]
# (variables of the teachers, rows, key) -> `targets`, `taught` and `untaught` of the rows.
Teach = Callable[[Any, Any, Array], dict[str, Any]]
# The name that BatchNorm and the seam look for; bound under pmap alone.
MAPPED_AXIS = "batch"


@dataclasses.dataclass(frozen=True)
class Seam:
    """What happens between the encoders and the losses, and to the gradients afterwards."""

    gather: Callable[[Any], Any]
    mean: Callable[[Any], Any]


MESH_SEAM = Seam(gather=lambda tree: tree, mean=lambda tree: tree)
PMAP_SEAM = Seam(
    gather=lambda tree: jax.tree.map(
        lambda leaf: jax.lax.all_gather(leaf, MAPPED_AXIS, axis=0, tiled=True), tree
    ),
    mean=lambda tree: jax.lax.pmean(tree, MAPPED_AXIS),
)


def loss_and_gradients(
    model: Model, state: TrainState, batch: Any, key: Array, seam: Seam, accumulate: int
) -> tuple[Array, dict[str, Array], Any, Any, Any]:
    """(loss, metrics, gradients, running statistics, memory) of the global batch."""
    variables = state.variables()

    def encode(params: Any, rows: Any) -> tuple[Any, Any]:
        rows = {**rows, "step": state.step}
        params = model.with_frozen(params)
        return model.encode({**variables, "params": params}, rows, key, train=True)

    def compare(params: Any, outputs: Any) -> tuple[Array, Any]:
        outputs, small = seam.gather((outputs, without_views(batch)))
        small["step"] = state.step
        params = model.with_frozen(params)
        return model.loss({**variables, "params": params}, outputs, small, key, train=True)

    if accumulate == 1:

        def whole(params: Any) -> tuple[Array, Any]:
            outputs, statistics = encode(params, batch)
            loss, (metrics, memory) = compare(params, outputs)
            return loss, (metrics, memory, statistics)

        (loss, (metrics, memory, statistics)), gradients = jax.value_and_grad(whole, has_aux=True)(
            state.params
        )
        return loss, metrics, gradients, statistics, memory

    # Two passes (Gao et al. 2021, GradCache): a contrastive loss over micro-batches is another loss, so the
    # outputs of all micro-batches are compared at once and their cotangents pushed through each encoder pass.
    parts = split_rows(batch, accumulate)
    outputs, statistics = jax.lax.map(lambda part: encode(state.params, part), parts)
    # Each micro-batch updated the same old statistics: their mean is one update.
    statistics = jax.tree.map(lambda leaf: leaf.mean(axis=0), statistics)
    (loss, (metrics, memory)), (gradients, cotangents) = jax.value_and_grad(
        compare, argnums=(0, 1), has_aux=True
    )(state.params, join_rows(outputs))

    def push(total: Any, part: tuple[Any, Any]) -> tuple[Any, None]:
        rows, cotangent = part
        _, pull = jax.vjp(lambda params: encode(params, rows)[0], state.params)
        return jax.tree.map(jnp.add, total, pull(cotangent)[0]), None

    gradients, _ = jax.lax.scan(push, gradients, (parts, split_rows(cotangents, accumulate)))
    return loss, metrics, gradients, statistics, memory


def taught(teach: Teach, frozen: Any, batch: Any, key: Array, accumulate: int) -> Any:
    """The batch with what its teachers say; in micro-batches where the encoders take them."""
    if accumulate == 1:
        return {**batch, **teach(frozen, batch, key)}
    parts = split_rows(batch, accumulate)
    said = jax.lax.map(lambda part: teach(frozen, part, key), parts)
    return {**batch, **join_rows(said)}


def complete_rows(model: Model, present: Mapping[str, Array]) -> Array:
    """bool [batch]: the rows with all that the objectives need, and something, whatever teachers see."""
    views = model.without_teachers().views
    needed = {name for one in model.objectives.values() for name in one.needed_views(views)}
    something = jnp.stack([present[name] for name in views]).any(axis=0)
    return jnp.stack([something, *(present[name] for name in sorted(needed))]).all(axis=0)


def shown(views: Iterable[str], present: Mapping[str, Array], whole: Array) -> Array:
    """bool [batch]: of the rows that are `whole`, those that have all of these views."""
    return jnp.stack([whole, *(present[name] for name in views)]).all(axis=0)


def make_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    accumulate: int = 1,
    ema_decay: float = 0.0,
    seam: Seam = MESH_SEAM,
    teach: Teach | None = None,
    mixup: Mixup | None = None,
) -> Callable[[TrainState, Any, Any], tuple[TrainState, Logs]]:
    """The pure step, to be jitted over a mesh or mapped over devices.

    (state, variables of the teachers, batch); `teach` makes of the latter two what the teachers say.
    """

    def step(state: TrainState, frozen: Any, batch: Any) -> tuple[TrainState, Logs]:
        key = jax.random.fold_in(purpose_key(jax.random.key(seed), "step"), state.step)
        if teach is not None:
            batch = taught(teach, frozen, batch, key, accumulate)
        if mixup is not None:
            batch = mixed(model, state.variables(), batch, purpose_key(key, "mixup"), mixup)
        loss, metrics, gradients, statistics, memory = loss_and_gradients(
            model, state, batch, key, seam, accumulate
        )
        gradients = seam.mean(gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema_decay:
            ema = optax.incremental_update(params, state.ema, 1 - ema_decay)
        small = seam.gather(
            {key: batch[key] for key in ("valid", "fault", "present", "untaught") if key in batch}
        )
        whole = complete_rows(model, small["present"])
        bad = state.bad + jnp.sum(~small["valid"], dtype=jnp.int32)
        seen = state.seen + small["valid"].shape[0]
        gaps = small.get("untaught", {})
        # A teacher that this stage of a curriculum does not ask keeps its count.
        untaught = {
            name: count + jnp.sum(gaps[name] >= 0, dtype=jnp.int32) if name in gaps else count
            for name, count in state.untaught.items()
        }
        new_state = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            batch_stats=statistics,
            memory=memory,
            ema=ema,
            seen=seen,
            bad=bad,
            untaught=untaught,
        )
        logs = {
            "loss": loss,
            **metrics,
            "gradient_norm": optax.tree.norm(gradients),
            "bad_clips": bad,
            "seen_clips": seen,
            INCOMPLETE: jnp.sum(~whole, dtype=jnp.int32),
            **{
                one.key: jnp.sum(~shown(one.views, small["present"], whole), dtype=jnp.int32)
                for one in lookers(model)
                if one.key != INCOMPLETE
            },
            "faults": small["fault"],
            **{f"teachers/{name}/untaught_clips": count for name, count in untaught.items()},
            **{f"teachers/{name}/untaught": rows for name, rows in gaps.items()},
        }
        return new_state, logs

    return step


@dataclasses.dataclass(frozen=True)
class PlacedStep:
    """A jitted step, how host-local batches get to its devices, and what it sees of a batch's arrays."""

    run: Any
    place: Callable[[Any], Any]
    example: Callable[[jax.ShapeDtypeStruct], Any]

    def lower(
        self, state: Any, frozen: Any, example_batch: Callable[[int], Any], batch_size: int
    ) -> Any:
        """The step to be compiled, from shapes alone; `state` and, on a mesh, `frozen` may be abstract."""
        shapes = jax.eval_shape(lambda: example_batch(batch_size))
        return self.run.lower(state, frozen, jax.tree.map(self.example, shapes))

    def compile(
        self, state: Any, frozen: Any, example_batch: Callable[[int], Any], batch_size: int
    ) -> Any:
        return self.lower(state, frozen, example_batch, batch_size).compile()


def place_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    shardings: Any,
    frozen_shardings: Any,
    *,
    mode: str,
    **settings: Any,
) -> PlacedStep:
    """The step jitted over the mesh, or mapped over the devices with `mode="pmap"`."""
    if mode == "pmap":
        return mapped_step(make_step(model, optimizer, seam=PMAP_SEAM, **settings), mesh)
    sharding = batch_sharding(mesh)
    anywhere = make_step(model, optimizer, seam=MESH_SEAM, **settings)

    # Its name is the program's in traces.
    def step(state: TrainState, frozen: Any, batch: Any) -> tuple[TrainState, Logs]:
        # By which layers know that there is something to gather (`models/whole.py`).
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return anywhere(state, frozen, batch)

    jitted = jax.jit(
        step,
        in_shardings=(shardings, frozen_shardings, sharding),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )
    return PlacedStep(
        jitted,
        place_on_mesh(mesh),
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
    )


def mapped_step(step: Callable[..., Any], mesh: Mesh) -> PlacedStep:
    """The step under pmap. The state goes in and comes out whole, so checkpoints are as on a mesh.

    Only its compiled form may be called: that takes and gives global arrays, while with several processes
    `jax.pmap` itself would make the state local to each, which no checkpoint can hold.
    """
    mapped = jax.pmap(
        step,
        axis_name=MAPPED_AXIS,
        in_axes=(None, None, 0),
        out_axes=None,
        donate_argnums=0,
        devices=list(mesh.devices.flat),
    )
    sharding = batch_sharding(mesh)

    def rows_by_device(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        # An array, since with several processes the lowering of pmap takes no shapes.
        shape = (mesh.size, leaf.shape[0] // mesh.size, *leaf.shape[1:])
        return jnp.zeros(shape, leaf.dtype, device=sharding)

    return PlacedStep(mapped, place_for_pmap(mesh), rows_by_device)
