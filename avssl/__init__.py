"""Self-supervised audio-visual pretraining and distillation in JAX/Flax."""

__version__ = "0.1.0"
