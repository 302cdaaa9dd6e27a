import jax, jax.numpy as jnp
from avssl.train.checkpoint import Checkpoints
with Checkpoints('/tmp/c/two/checkpoints') as c:
    c.save(100,{"params": {"w": jnp.zeros((8, 50))}, "counters": {"n": jnp.asarray(0, jnp.int32)}},{})
