"""Self-labelling (SeLaVi): one balanced cluster assignment per video that both modalities name."""

import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from avssl.errors import UsageError, unknown
from avssl.losses.precision import dot
from avssl.losses.self_labelling import head_groups, multi_head_loss, solve_steps
from avssl.losses.sinkhorn import (
    empty_queue,
    gaussian_marginal,
    log_joint_posterior,
    match_popularity,
    online_sinkhorn,
    push,
    uniform_marginal,
)
from avssl.models.features import Features
from avssl.models.heads import ClusterHead
from avssl.objectives.alignment import best_permutation, permute_outputs
from avssl.objectives.base import Batch, Objective, Outcome, Outputs, Owned, Read
from avssl.objectives.labels import (
    NO_LABEL,
    cluster_sizes,
    mesh_of,
    require_fewer_clusters,
    size_metrics,
)
from avssl.objectives.solving import Solver

MARGINALS = ("uniform", "gaussian")
MODALITIES = ("video", "audio")


class Selavi(Objective):
    """The clusters that Sinkhorn-Knopp makes of both modalities' posteriors are the labels of both.

    Asano, Patrick, Rupprecht & Vedaldi 2020 ("Labelling unlabelled videos from scratch with multi-modal
    self-supervision", NeurIPS, arXiv 2006.13662; code facebookresearch/selavi). `num_heads` independent
    clusterings, a head for each modality and clustering (`head_width` 512, `dropout` 0.3); loss = half the
    mean cross-entropy of the video heads + half that of the audio heads. `losses/sinkhorn.py` has the solver,
    with `sharpness` 20; `num_clusters`: VGG-Sound 309, Kinetics 400, AVE 28, Kinetics-Sound 32.

    Labels are solved for `num_solves` times a head, densely at first: at schedule_steps * (n / N)**1.5, after
    which they stay; set `schedule_steps` to the steps of the run. A solve takes features of all clips, with
    running statistics and all that training draws: windows, crops, colours, volume. Heads are split at random
    into `num_groups`, each solved on a pass of its own with other draws, which decorrelates them. Before the
    first solve come `norm_warmup_steps` batches (20) that teach nothing but the running statistics. At the
    first solve the outputs of the audio heads are put in the order of the video heads' (`align`), and all heads
    are solved.

    `marginals="gaussian"`: clusters of unequal prescribed sizes, drawn once per head, the largest for the
    cluster that is most popular at each solve. Released, a cluster's share is 1 / the size drawn for it, which
    at more than the published spread of 0.1 makes few of them very large; with `sizes_as_drawn` it is the size.
    `released_matching` has the released code's matching, which permutes the sizes without sorting them, every
    time anew.

    The clusters that an evaluation reports are those of the head whose last solve cost least (`cost`: the mean
    of -log posterior of the labels, over the training clips), which needs no classes to be chosen.

    `online`: no pass over the data and no schedule. The labels of a batch are solved for in the step, over it
    and a queue of the `queue_rows` latest posteriors, made without dropout; for endless streams, which have
    no num_records. Heads are then not aligned but by training.

    Departures: the groups take turns, so that a pass serves one group and their solves lie between each
    other; each head is solved as often as in the released code, in as many passes. Alignment by the Hungarian
    algorithm instead of random swaps. Clips without both modalities, and rows not yet labelled, are left out,
    where the released code gives what its workers miss the label 0.
    """

    num_clusters: int = 309
    num_heads: int = 10
    head_width: int = 512
    dropout: float = 0.3
    sharpness: float = 20.0
    marginals: str = "uniform"
    marginal_spread: float = 0.1
    sizes_as_drawn: bool = False
    released_matching: bool = False
    num_groups: int = 2
    align: bool = True
    num_solves: int = 100
    solve_power: float = 1.5
    schedule_steps: int = 33_200
    norm_warmup_steps: int = 20
    online: bool = False
    queue_rows: int = 3840

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "num_clusters": (2, math.inf),
        "sharpness": (1e-6, math.inf),
    }

    refresh_pass = True
    refresh_draws = True

    @property
    def heads_read_memory(self) -> bool:
        return not self.online

    def setup(self) -> None:
        self.check()
        self.video_heads = ClusterHead(**self.head_fields)
        self.audio_heads = ClusterHead(**self.head_fields)
        heads, clusters = self.num_heads, self.num_clusters
        self.masses = self.variable("memory", "marginals", self.fresh_marginals)
        if self.online:
            self.queue = self.variable("memory", "queue", self.fresh_queue)
            return
        labels = jnp.full, (self.num_records, heads), NO_LABEL, jnp.int32
        self.labels = self.variable("memory", "labels", *labels)
        self.sizes = self.variable("memory", "sizes", jnp.zeros, (heads, clusters), jnp.int32)
        self.cost = self.variable("memory", "cost", jnp.zeros, (heads,), self.dtype)
        self.changed = self.variable("memory", "changed", jnp.zeros, (heads,), self.dtype)

    def check(self) -> None:
        key = self.config_key
        if self.marginals not in MARGINALS:
            raise unknown(f"{key}.marginals", self.marginals, MARGINALS)
        if not 1 <= self.num_groups <= self.num_heads:
            raise UsageError(f"{key}.num_groups must lie between 1 and num_heads={self.num_heads}")
        for name in ("num_solves", "schedule_steps", "queue_rows", "head_width"):
            if getattr(self, name) < 1:
                raise UsageError(f"{key}.{name} must be at least 1")
        if self.online and self.released_matching:
            raise UsageError(
                f"{key}.released_matching permutes sizes from solve to solve, which {key}.online has none of: "
                "set one of them to False"
            )
        if not self.online:
            require_fewer_clusters(
                key, self.num_records, self.num_clusters,
                f"set {key}.num_clusters to fewer, or {key}.online=true for an endless stream",
            )  # fmt: skip

    @property
    def waits_by(self) -> str:
        return "" if self.online else "norm_warmup_steps"

    @property
    def head_fields(self) -> dict[str, Any]:
        return {
            "width": self.head_width,
            "num_clusters": self.num_clusters,
            "dropout": self.dropout,
            "dtype": self.dtype,
        }

    def fresh_marginals(self) -> Array:
        if self.marginals == "uniform":
            each = uniform_marginal(self.num_clusters)
            return jnp.broadcast_to(each[None], (self.num_heads, self.num_clusters))
        keys = jax.random.split(self.make_rng("params"), self.num_heads)
        return jax.vmap(
            lambda key: gaussian_marginal(
                key, self.num_clusters, spread=self.marginal_spread, as_drawn=self.sizes_as_drawn
            )
        )(keys)

    def fresh_queue(self) -> dict[str, Array]:
        empty = empty_queue(self.queue_rows, self.num_clusters)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf[None], (self.num_heads, *leaf.shape)), empty
        )

    def heads(self, features: Mapping[Read, Features], batch: Batch, *, train: bool) -> Outputs:
        """Logits [batch, heads x clusters]; `video_calm` without dropout, for the labels of a stream.

        In evaluation also `head` [batch], the same in every row: the one that `clusters` are of.
        """
        video = features[self.video_read].embedding
        audio = features[self.audio_read].embedding
        outputs = {}
        if self.online:
            # First: the others move the running statistics.
            calm = functools.partial(self.logits, rows=batch["row"], train=False)
            outputs["video_calm"] = calm(self.video_heads, jax.lax.stop_gradient(video))
            outputs["audio_calm"] = calm(self.audio_heads, jax.lax.stop_gradient(audio))
        outputs["video"] = self.logits(self.video_heads, video, batch["row"], train=train)
        outputs["audio"] = self.logits(self.audio_heads, audio, batch["row"], train=train)
        if not train and not self.online:
            best = jnp.argmin(self.cost.value).astype(jnp.int32)
            outputs["head"] = jnp.broadcast_to(best, (len(video),))
        return outputs

    def logits(self, heads: ClusterHead, embedding: Array, rows: Array, *, train: bool) -> Array:
        """All heads of a modality at once; each has its own parameters, statistics and dropout."""
        each = nn.vmap(
            lambda head, x, rows: head(x, rows, train=train),
            in_axes=None,  # type: ignore[arg-type]
            out_axes=1,
            axis_size=self.num_heads,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "draw": True},
        )
        return each(heads, embedding, rows).reshape(len(embedding), -1)

    def by_head(self, flat: Array) -> Array:
        """[batch, heads x clusters] to [heads, batch, clusters]."""
        return jnp.swapaxes(flat.reshape(len(flat), self.num_heads, self.num_clusters), 0, 1)

    def __call__(self, outputs: Outputs, batch: Batch, *, train: bool) -> Outcome:
        if self.online:
            labels, metrics = self.labels_of_stream(outputs, batch, train=train)
        else:
            labels = self.labels.value[batch["index"]]
            metrics = {
                **size_metrics(self.sizes.value, self.dtype),
                "cost": jnp.mean(self.cost.value),
                "changed": jnp.mean(self.changed.value),
            }
        loss, accuracies = multi_head_loss(
            self.by_head(outputs["video"]), self.by_head(outputs["audio"]), labels,
            video_present=batch["present"][self.video_view],
            audio_present=batch["present"][self.audio_view],
        )  # fmt: skip
        return Outcome(loss, {**accuracies, **metrics})

    def labels_of_stream(
        self, outputs: Outputs, batch: Batch, *, train: bool
    ) -> tuple[Array, dict[str, Array]]:
        """Labels [batch, heads] over the batch and the queue, which the batch then enters."""
        present = self.both_present(batch)
        posterior = jax.lax.stop_gradient(
            jax.vmap(log_joint_posterior)(
                self.by_head(outputs["video_calm"]), self.by_head(outputs["audio_calm"])
            )
        )

        def of_head(posterior: Array, queue: dict[str, Array], masses: Array) -> Any:
            if self.marginals == "gaussian":
                masses = match_popularity(masses, queue["log_posterior"], present=queue["present"])
            _, labels = online_sinkhorn(
                posterior, queue, masses, present=present, sharpness=self.sharpness
            )
            return labels, push(queue, posterior, present=present)

        labels, queue = jax.vmap(of_head)(posterior, self.queue.value, self.masses.value)
        if train:
            self.queue.value = queue
        sizes = jax.vmap(lambda one: cluster_sizes(one, self.num_clusters))(labels)
        return labels.T, size_metrics(sizes, self.dtype)

    def clusters(self, outputs: Outputs) -> dict[str, Array]:
        """Those of one head: what each modality names, and what both do together.

        It is the head whose last solve cost least, of a stream the first.
        """
        rows = jnp.arange(len(outputs["video"]))
        head = outputs.get("head", jnp.zeros_like(rows))
        video, audio = (self.by_head(outputs[name])[head, rows] for name in MODALITIES)
        together = log_joint_posterior(video, audio)
        named = {"video": video, "audio": audio, "joint": together}
        return {name: jnp.argmax(logits, axis=1) for name, logits in named.items()}

    def joint(self, outputs: Outputs) -> tuple[Array, Array]:
        return self.posteriors(outputs["video"]), self.posteriors(outputs["audio"])

    def posteriors(self, flat: Array) -> Array:
        shares = jax.nn.softmax(flat.reshape(len(flat), self.num_heads, self.num_clusters))
        return shares.reshape(flat.shape)

    def similarity(self, video: Array, audio: Array) -> Array:
        """How likely both modalities name one cluster, mean over the heads."""
        return dot(self.posteriors(video), self.posteriors(audio).T) / self.num_heads

    def row_similarity(self, video: Array, audio: Array) -> Array:
        return jnp.sum(self.posteriors(video) * self.posteriors(audio), axis=-1) / self.num_heads

    def solves(self) -> tuple[int, ...]:
        """The steps before which a group of heads gets new labels."""
        steps = solve_steps(
            self.schedule_steps, num_solves=self.num_solves * self.num_groups,
            power=self.solve_power,
        )  # fmt: skip
        return tuple(sorted({max(step, self.norm_warmup_steps) for step in steps}))

    def refresh_due(self, step: int) -> bool:
        return not self.online and step in self.solves()

    def heads_of_solve(self, number: int) -> list[int]:
        """All heads at first, then group after group; they are split anew after each has had its turn."""
        if number == 0:
            return list(range(self.num_heads))
        turn, group = divmod(number - 1, self.num_groups)
        groups = np.asarray(head_groups(jax.random.key(turn), self.num_heads, self.num_groups))
        return np.flatnonzero(groups == group).tolist()

    def refresh_outputs(self, features: Mapping[Read, Features], batch: Batch) -> Outputs:
        return {**super().refresh_outputs(features, batch), "present": self.both_present(batch)}

    def refresh(self, owned: Owned, kept: Outputs, seen: Array, step: int, key: Array) -> Owned:
        """New labels for the heads whose turn it is."""
        number = self.solves().index(step)
        kept = {**kept, "present": kept["present"] & seen}
        solver, params = self.solver(kept), owned.params
        if number == 0 and self.align:
            params = self.aligned(solver, owned, kept)
        owned = Owned(params, dict(owned.memory), owned.batch_stats)
        for head in self.heads_of_solve(number):
            owned.memory.update(solver.solve(owned, kept, head))
        return owned

    def solver(self, kept: Outputs) -> Solver:
        return Solver(
            ClusterHead(**self.head_fields, parent=None),
            self.sharpness,
            self.marginals == "gaussian",
            self.released_matching,
            mesh_of(kept["video"]),
        )

    def aligned(self, solver: Solver, owned: Owned, kept: Outputs) -> Any:
        """The parameters with the outputs of each audio head in the order of its video head."""
        last = owned.params["audio_heads"]["linear2"]
        moved = []
        for head in range(self.num_heads):
            order = best_permutation(solver.distances(owned, kept, head))
            moved.append(permute_outputs(jax.tree.map(lambda leaf, h=head: leaf[h], last), order))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *moved)
        audio_heads = {**owned.params["audio_heads"], "linear2": stacked}
        return {**owned.params, "audio_heads": audio_heads}
