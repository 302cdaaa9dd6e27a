"""The embedded world: short audio-visual scenes drawn from a seed, whose truth is known."""
