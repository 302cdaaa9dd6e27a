"""Music that has nothing to do with the scene: what people lay over their videos."""

import numpy as np


def draw_music(num_samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [2, m]: on each beat a chord of three soft voices, and a bass."""
    time = np.arange(num_samples, dtype=np.float32) / rate
    beat_seconds = rng.uniform(0.3, 0.55)
    root = 130.8 * 2 ** (rng.integers(12) / 12)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14])
    ears = np.zeros((2, num_samples), np.float32)
    for beat in range(int(np.ceil(time[-1] / beat_seconds))):
        start = round(beat * beat_seconds * rate)
        length = min(round(beat_seconds * rate * 1.2), num_samples - start)
        since = time[:length]
        chord = rng.choice(scale, 3, replace=False)
        for tone in (-12, *chord):
            hertz = root * 2 ** (tone / 12)
            voice = sum(np.sin(2 * np.pi * hertz * n * since) / n**2 for n in (1, 2, 3))
            voice = voice * np.exp(-since / 0.25) * np.minimum(since / 0.01, 1)
            pan = rng.uniform(0.3, 0.7)
            ears[0, start : start + length] += (1 - pan) * voice
            ears[1, start : start + length] += pan * voice
    return ears * np.float32(10 ** rng.uniform(-1.1, -0.6))
