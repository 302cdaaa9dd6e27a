import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avssl.losses import monitors

pytestmark = pytest.mark.usefixtures("strict_dtypes")
spread_monitors = jax.jit(monitors.spread_monitors)
cosine_monitors = jax.jit(monitors.cosine_monitors)
PRESENT = np.array([1, 1, 0, 1, 1, 1, 0, 1, 1, 1], bool)
INDEX = np.array([0, 1, 2, 3, 0, 5, 6, 1, 8, 9])


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("dim", [4, 30], ids=["fewer than rows", "more than rows"])
def test_spread_equals_the_eigenvalues(dim: int):
    rows = np.random.default_rng(0).standard_normal((10, dim)) * np.linspace(0.1, 2, dim)
    rows[~PRESENT] = np.nan
    spread = spread_monitors(jnp.asarray(rows), present=jnp.asarray(PRESENT))
    kept = unit(rows[PRESENT])
    values = np.linalg.eigvalsh(np.cov(kept.T, bias=True))
    np.testing.assert_allclose(spread["std"], kept.std(0).mean(), rtol=1e-10)
    np.testing.assert_allclose(
        spread["participation_ratio"], values.sum() ** 2 / (values**2).sum(), rtol=1e-10
    )


def test_spread_tells_collapse():
    present = jnp.ones(64, bool)
    random = np.random.default_rng(1)
    even = jnp.asarray(random.standard_normal((64, 16)), jnp.float32)
    healthy = spread_monitors(even, present=present)
    assert healthy["participation_ratio"] > 11
    assert healthy["std"] == pytest.approx(1 / 4, rel=0.05)

    line = random.standard_normal((64, 1)) * random.standard_normal((1, 16))
    spread = spread_monitors(jnp.asarray(line, jnp.float32), present=present)
    assert spread["participation_ratio"] == pytest.approx(1, abs=1e-4)

    # Rounding noise around one point has many directions; that must not look like health.
    point = random.standard_normal((1, 16)) * random.uniform(0.5, 2, (64, 1))
    spread = spread_monitors(jnp.asarray(point, jnp.float32), present=present)
    assert spread["participation_ratio"] == 0.0
    assert spread["std"] < 1e-6


@pytest.mark.usefixtures("float64")
def test_cosines_of_partners_and_of_others():
    video, audio = np.random.default_rng(2).standard_normal((2, 10, 6))
    cosines = unit(video) @ unit(audio).T
    rows = [i for i in range(10) if PRESENT[i]]
    others = [cosines[i, j] for i in rows for j in rows if INDEX[i] != INDEX[j]]
    audio[~PRESENT] = np.inf
    cosine = cosine_monitors(
        jnp.asarray(video),
        jnp.asarray(audio),
        index=jnp.asarray(INDEX, jnp.int32),
        present=jnp.asarray(PRESENT),
    )
    np.testing.assert_allclose(cosine["positive_cosine"], np.mean([cosines[i, i] for i in rows]))
    np.testing.assert_allclose(cosine["negative_cosine"], np.mean(others))


@pytest.mark.parametrize("num_present", [0, 1])
def test_finite_with_hardly_any_rows(num_present: int):
    rows = jnp.asarray(np.random.default_rng(3).standard_normal((4, 3)), jnp.bfloat16)
    present = jnp.arange(4) < num_present
    values = spread_monitors(rows, present=present) | cosine_monitors(
        rows, rows, index=jnp.arange(4), present=present
    )
    assert all(value.dtype == jnp.float32 for value in values.values())
    assert {name: float(value) for name, value in values.items()} == {
        "std": 0.0,
        "participation_ratio": 0.0,
        "positive_cosine": pytest.approx(num_present, abs=1e-3),
        "negative_cosine": 0.0,
    }


def test_cosines_are_not_rounded_as_accelerators_would():
    """A product without a stated precision is one of half the digits there."""
    rows, present = jnp.ones((10, 4)), jnp.asarray(PRESENT)
    program = jax.make_jaxpr(monitors.cosine_monitors)(
        rows, rows, index=jnp.asarray(INDEX), present=present
    )
    assert "dot_general" not in str(program)
