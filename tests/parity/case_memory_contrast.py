"""CRD over two steps with its embeddings, and both forms of CMC: losses, gradients, Z, memories."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.bank import update_bank
from avssl.losses.contrastive import unit_rows
from avssl.losses.memory_contrast import memory_nce_loss, memory_softmax_loss
from avssl.models.heads import ProjectionMLP

close = {"rtol": 1e-5, "atol": 1e-6}
UNSET = {"student": jnp.zeros(()), "teacher": jnp.zeros(())}


def near_gradient(actual, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * scale)


def batch_of(golden: dict, suffix: str = "") -> dict[str, jax.Array]:
    """Column 0 of the official draws is the record itself."""
    index = jnp.asarray(golden[f"idx{suffix}"], jnp.int32)
    places = jnp.asarray(golden[f"contrast_idx{suffix}"], jnp.int32)
    np.testing.assert_array_equal(places[:, 0], index)
    return {"index": index, "negatives": places[:, 1:], "present": jnp.ones(len(index), bool)}


@partial(jax.jit, static_argnames="momentum")
def updated(banks, embeddings, batch: dict, *, momentum: float) -> list[jax.Array]:
    where = {name: batch[name] for name in ("index", "present")}
    return [
        update_bank(bank, embedding, momentum=momentum, **where)
        for bank, embedding in zip(banks, embeddings, strict=True)
    ]


def check_crd(golden: dict[str, np.ndarray]):
    embed = ProjectionMLP((int(golden["feat_dim"]),))
    params = {
        side: {
            "linear1": {
                "kernel": jnp.asarray(golden[f"w{side}"].T),
                "bias": jnp.asarray(golden[f"b{side}"]),
            }
        }
        for side in "st"
    }

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def forward(student, params, teacher, banks, partitions, batch):
        embeddings = [
            embed.apply({"params": params[side]}, rows, train=True)
            for side, rows in (("s", student), ("t", teacher))
        ]
        loss, kept, _ = memory_nce_loss(
            *embeddings,
            student_bank=banks[0],
            teacher_bank=banks[1],
            partitions=partitions,
            temperature=float(golden["nce_t"]),
            **batch,
        )
        return loss, (kept, embeddings)

    banks = [jnp.asarray(golden[f"mem_{side}_before"]) for side in "st"]
    partitions = UNSET
    for step, suffix in ((1, ""), (2, "2")):
        batch = batch_of(golden, suffix)
        student, teacher = (jnp.asarray(golden[f"feat_{side}{suffix}"]) for side in "st")
        (loss, (partitions, embeddings)), (to_student, to_params) = forward(
            student, params, teacher, banks, partitions, batch
        )
        np.testing.assert_allclose(loss, np.squeeze(golden[f"loss{step}"]), **close)
        near_gradient(to_student, golden[f"grad{step}_feat_s"])
        for side, name in (("student", "Z_s"), ("teacher", "Z_t")):
            released = partitions[side] * float(golden["n_data"])
            np.testing.assert_allclose(released, golden[name], **close)
        if step == 1:
            for side, embedding in zip("st", embeddings, strict=True):
                np.testing.assert_allclose(unit_rows(embedding), golden[f"emb_{side}"], **close)
                layer = to_params[side]["linear1"]
                near_gradient(layer["kernel"].T, golden[f"grad1_w{side}"])
                near_gradient(layer["bias"], golden[f"grad1_b{side}"])
        banks = updated(banks, embeddings, batch, momentum=float(golden["nce_m"]))
        for side, bank in zip("st", banks, strict=True):
            np.testing.assert_allclose(bank, golden[f"mem_{side}_after{step}"], **close)


def check_cmc(golden: dict[str, np.ndarray]):
    views = jnp.asarray(golden["l"]), jnp.asarray(golden["ab"])
    banks = [jnp.asarray(golden[f"mem_{view}_before"]) for view in ("l", "ab")]
    batch = batch_of(golden)
    nce = partial(memory_nce_loss, partitions=UNSET)
    for prefix, loss_of in (("nce", nce), ("softmax", memory_softmax_loss)):

        def forward(first, second, loss_of=loss_of):
            loss, *rest = loss_of(
                first,
                second,
                student_bank=banks[0],
                teacher_bank=banks[1],
                temperature=float(golden["nce_t"]),
                **batch,
            )
            return loss, rest

        compute = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
        (loss, rest), gradients = compute(*views)
        np.testing.assert_allclose(loss, np.squeeze(golden[f"{prefix}_loss"]), **close)
        near_gradient(gradients[0], golden[f"{prefix}_grad_l"])
        near_gradient(gradients[1], golden[f"{prefix}_grad_ab"])
        if prefix == "nce":
            for side, name in (("student", "nce_Z_l"), ("teacher", "nce_Z_ab")):
                released = rest[0][side] * float(golden["n_data"])
                np.testing.assert_allclose(released, golden[name], **close)
        after = updated(banks, views, batch, momentum=float(golden["nce_m"]))
        for view, bank in zip(("l", "ab"), after, strict=True):
            np.testing.assert_allclose(bank, golden[f"{prefix}_mem_{view}_after"], **close)
