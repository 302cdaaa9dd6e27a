"""L3-Net and AVE-Net: both losses with gradients, and the log-spectrogram."""

import jax
import jax.numpy as jnp
import numpy as np

from avssl.losses.correspondence import correspondence_loss, distance_logits
from avssl.signal.frontends import LogSpectrogram

RATE = 48000
close = {"rtol": 1e-5, "atol": 1e-6}


def check_l3net(golden: dict):
    arrays = {name: jnp.asarray(value) for name, value in golden.items() if name != "y"}
    corresponds = jnp.asarray(golden["y"] == 1)
    present = jnp.ones_like(corresponds)
    check_fused(arrays, corresponds, present)
    check_distance(arrays, corresponds, present)
    check_spectrogram(golden)


def check_fused(golden: dict, corresponds: jax.Array, present: jax.Array):
    def forward(video, audio):
        joint = jnp.concatenate([video, audio], axis=1)
        hidden = jax.nn.relu(joint @ golden["W1"].T + golden["b1"][None])
        logits = hidden @ golden["W2"].T + golden["b2"][None]
        loss, metrics = correspondence_loss(logits, corresponds, present=present)
        return loss, (logits, metrics)

    gradient_of = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    (loss, (logits, metrics)), gradients = gradient_of(golden["f_video"], golden["f_audio"])
    np.testing.assert_allclose(logits, golden["l3_logits"], **close)
    np.testing.assert_allclose(loss, golden["l3_loss"], **close)
    np.testing.assert_allclose(gradients[0], golden["l3_gv"], **close)
    np.testing.assert_allclose(gradients[1], golden["l3_ga"], **close)
    right = np.argmax(golden["l3_logits"], axis=1) == np.asarray(corresponds)
    np.testing.assert_allclose(metrics["accuracy"], right.mean())


def check_distance(golden: dict, corresponds: jax.Array, present: jax.Array):
    def forward(video, audio):
        logits, distance = distance_logits(
            video, audio, weight=golden["ave_Wd"][:, 0], bias=golden["ave_bd"]
        )
        return correspondence_loss(logits, corresponds, present=present)[0], (logits, distance)

    gradient_of = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    (loss, (logits, distance)), gradients = gradient_of(golden["ave_v"], golden["ave_a"])
    np.testing.assert_allclose(distance, golden["ave_dist"][:, 0], **close)
    np.testing.assert_allclose(logits, golden["ave_logits"], **close)
    np.testing.assert_allclose(loss, golden["ave_loss"], **close)
    np.testing.assert_allclose(gradients[0], golden["ave_gv"], **close)
    np.testing.assert_allclose(gradients[1], golden["ave_ga"], **close)


def check_spectrogram(golden: dict):
    """The golden holds magnitudes [frequency, time], of some milliseconds only."""
    frontend = LogSpectrogram()
    clip = jnp.asarray(golden["wav"], jnp.float32)[None, :, None]
    level = jax.jit(frontend, static_argnames="rate")(clip, rate=RATE)
    level = np.asarray(level, np.float64)[0, :, :, 0]
    expected = golden["spec_first10ms"]
    assert level.shape == expected.shape[::-1]
    magnitude = np.exp(level * frontend.divisor)
    np.testing.assert_allclose(magnitude.T, expected, rtol=1e-4, atol=1e-5 * expected.max())
    one_second = jax.eval_shape(lambda x: frontend(x, rate=RATE), jnp.zeros((1, RATE, 1)))
    assert one_second.shape[2:0:-1] == tuple(golden["spec_shape_1s"])
