"""Losses: pure functions of arrays. They import nothing but jax and jaxtyping."""
