"""CCL: both criteria, and whole steps with an audio teacher, an image teacher, and both.

The released code passes two losses back, one after the other, and clears the student's gradients
between them; here all of them come from one scalar. `near` is the note's tolerance.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from avssl.losses.composition import compositional_loss, jeffreys_divergence, multi_class_nce
from avssl.models.composition import Composition

TEACHERS = {"a": "audio", "i": "image"}
# Official scripts; the note has gradients alone, from which the step follows.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 5e-4


def near(actual, expected, name: str):
    assert actual.shape == expected.shape, name
    atol = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=atol, err_msg=name)


def close(actual, expected, name: str):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, err_msg=name)


def check_ccl_losses(golden: dict):
    labels = jnp.asarray(golden["targets"], jnp.int32)
    present = jnp.ones(labels.shape, bool)
    temperatures = re.findall(r"nce_loss_T(\d+p\d+)", " ".join(golden))
    assert temperatures

    def nce(first, second, temperature):
        return multi_class_nce(first, second, labels, temperature=temperature, present=present)

    pair = jnp.asarray(golden["f1"]), jnp.asarray(golden["f2"])
    compute = jax.jit(jax.value_and_grad(nce, (0, 1)))
    for stem in temperatures:
        loss, gradients = compute(*pair, float(stem.replace("p", ".")))
        close(loss, golden[f"nce_loss_T{stem}"], stem)
        near(gradients[0], golden[f"nce_grad_f1_T{stem}"], stem)
        near(gradients[1], golden[f"nce_grad_f2_T{stem}"], stem)

    def divergence(first, second):
        return jeffreys_divergence(first, second, present=present)

    compute = jax.jit(jax.value_and_grad(divergence, (0, 1)))
    loss, gradients = compute(jnp.asarray(golden["jsd_p"]), jnp.asarray(golden["jsd_q"]))
    close(loss, golden["jsd_loss_w0p5"], "divergence")
    near(gradients[0], golden["jsd_grad_p"], "jsd_grad_p")
    near(gradients[1], golden["jsd_grad_q"], "jsd_grad_q")


def check_ccl_step_a(golden: dict):
    check_step(golden, "a")


def check_ccl_step_i(golden: dict):
    check_step(golden, "i")


def check_ccl_step_ai(golden: dict):
    check_step(golden, "ai")


def official_layout(params: dict, keys: str) -> dict:
    """Ours by the golden's names."""
    student = params["student"]
    found = {
        "feat_v": student["feature"],
        "cls_w": student["kernel"].T,
        "cls_b": student["bias"],
    }
    for key in keys:
        layers = params[key]["params"]
        for theirs, ours in (("mlp", "mix"), ("fc", "classifier")):
            found[f"comp_{key}_{theirs}_w"] = layers[ours]["kernel"].T
            found[f"comp_{key}_{theirs}_b"] = layers[ours]["bias"]
    return found


def our_layout(golden: dict, keys: str) -> dict:
    def dense(stem: str) -> dict:
        return {
            "kernel": jnp.asarray(golden[f"{stem}_w"].T),
            "bias": jnp.asarray(golden[f"{stem}_b"]),
        }

    params = {"student": {"feature": jnp.asarray(golden["feat_v"]), **dense("cls")}}
    for key in keys:
        layers = {"mix": dense(f"comp_{key}_mlp"), "classifier": dense(f"comp_{key}_fc")}
        params[key] = {"params": layers}
    return params


def check_step(golden: dict, keys: str):
    params, labels = our_layout(golden, keys), jnp.asarray(golden["targets"], jnp.int32)
    everywhere = jnp.ones(labels.shape, bool)
    present = {"a": jnp.asarray(golden["feat_a"]).any(axis=1), "i": everywhere}
    if "a_mask" in golden:
        np.testing.assert_array_equal(present["a"], golden["a_mask"])
    # What a clip without audio holds must not matter.
    features = {
        key: jnp.where(present[key][:, None], golden[f"feat_{key}"], jnp.nan) for key in keys
    }

    def forward(params):
        student = params["student"]
        logits = student["feature"] @ student["kernel"] + student["bias"][None]
        branches = {}
        for key in keys:
            module = Composition(num_classes=logits.shape[1])
            composed = module.apply(
                params[key], features[key], student["feature"], present=present[key]
            )
            branches[TEACHERS[key]] = {
                **composed,
                "teacher": features[key],
                "present": present[key],
            }
        loss, metrics = compositional_loss(
            student["feature"], logits, labels, branches, present=everywhere
        )
        return loss, (metrics, branches)

    compute = jax.jit(jax.value_and_grad(forward, has_aux=True))
    (loss, (metrics, branches)), gradients = compute(params)
    check_values(golden, keys, loss, metrics, branches)

    gradients = official_layout(gradients, keys)
    assert {f"grad_{name}" for name in gradients} == {n for n in golden if n.startswith("grad_")}
    for name, gradient in gradients.items():
        near(gradient, golden[f"grad_{name}"], name)
    check_update(golden, gradients)


def check_values(golden: dict, keys: str, loss, metrics: dict, branches: dict):
    assert golden["loss_weight"] == 1.0 / len(keys)
    close(loss, sum(golden[f"total_{key}"] for key in "v" + keys), "loss")
    close(metrics["student_loss"], golden["total_v"], "total_v")
    close(metrics["classification"], golden["loss_cls_v"], "loss_cls_v")
    for key in keys:
        name = TEACHERS[key]
        branch, counted = branches[name], np.asarray(branches[name]["present"])
        for twin in ("", "_detached"):
            near(branch[f"composed{twin}"][counted], golden[f"{key}_feat"], f"{key}_feat")
            near(branch[f"logits{twin}"][counted], golden[f"{key}_out"], f"{key}_out")
        close(metrics[f"{name}_composition_loss"], golden[f"total_{key}"], f"total_{key}")
        terms = {
            "classification": "cls",
            "student_composed": "vm",
            "student_teacher": f"v{key}",
            "composed_teacher": f"m{key}",
            "divergence": "jsd",
        }
        for ours, theirs in terms.items():
            close(metrics[f"{name}_{ours}"], golden[f"{key}_loss_{theirs}"], f"{key} {theirs}")
        assert metrics[f"{name}_num_rows"] == counted.sum()


def check_update(golden: dict, gradients: dict):
    """The parameters after the step, in float64: as floats they would hide the gradient."""
    with jax.enable_x64(True):

        def wide(prefix: str) -> dict:
            return {name: jnp.asarray(golden[prefix + name], jnp.float64) for name in gradients}

        before = wide("")
        optimiser = optax.chain(
            optax.add_decayed_weights(WEIGHT_DECAY),
            optax.sgd(LEARNING_RATE, momentum=MOMENTUM),
        )
        ours = {name: jnp.asarray(value, jnp.float64) for name, value in gradients.items()}
        updates, _ = optimiser.update(ours, optimiser.init(before), before)
        for name, gradient in wide("grad_").items():
            after = before[name] - LEARNING_RATE * (gradient + WEIGHT_DECAY * before[name])
            change = np.asarray(after - before[name])
            near(updates[name], change, f"{name} after the step")
            near(before[name] + updates[name], np.asarray(after), f"{name} after the step")
