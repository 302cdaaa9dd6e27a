"""Self-supervised audio-visual pretraining and distillation in JAX/Flax."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avssl.embed.load import load

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Not at import: `avssl --help` needs no JAX.
    if name == "load":
        from avssl.embed.load import load

        return load
    raise AttributeError(f"module 'avssl' has no attribute '{name}'")
