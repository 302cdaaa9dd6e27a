"""The variants after the colon of `--config FILE:ONE+ANOTHER`; every config has `quicktest`."""

from collections.abc import Callable

from avssl.config.tree import ConfigDict
from avssl.errors import unknown

# How keys of objectives end that say when something happens, in steps.
WHEN = ("_from_step", "_at_step", "warmup_steps", "_every_steps")


def variant_of(
    config: ConfigDict, variant: str, **variants: Callable[[ConfigDict], None]
) -> ConfigDict:
    """Applies the variants after the colon of `--config FILE:ONE+ANOTHER`; every config has `quicktest`."""
    variants = {"quicktest": quicktest, **variants}
    for name in variant.split("+") if variant else ():
        if name not in variants:
            raise unknown("variant", name, variants)
        variants[name](config)
    return config


def quicktest(config: ConfigDict) -> None:
    """Shrinks any config to a few seconds on a CPU: the smallest world, small inputs, two steps."""
    config.steps = 2
    config.batch_size = 8
    config.log_every_steps = 1
    config.optimizer.warmup_steps = 0
    if config.optimizer.head_warmup_steps:
        config.optimizer.head_warmup_steps = 1
    if config.eval.every_steps:
        config.eval.every_steps = 1
    world = smallest_world(config.data.source)
    config.data.workers = 0
    config.data.cache = "none"
    config.data.local_cache = config.data.local_cache_gib = None
    config.checkpoint.every_steps = 2
    from avssl.models.registry import ENCODERS, encoder_fields

    for encoder in config.encoders.values():
        fields = encoder_fields(ENCODERS[encoder.name])
        if "size" in fields:
            encoder.size, encoder.depth = "tiny", None
        widths = encoder.get("widths", fields.get("widths"))
        if widths:
            encoder.widths = tuple(max(width // 8, 8) for width in widths)
    for view in config.views.values():
        if view.modality == "video":
            view.frames = min(view.get("frames", 8), 2)
            view.size = 32
        else:
            view.seconds = min(view.get("seconds", 2.0), 0.5)
        if any(view.get("shift_seconds", ())):
            view.shift_seconds = (0.5, 1.0)
        if view.get("stream") and world == "tiny":
            world = "tiny_eyes"
        if view.get("projection") == "sphere":
            world = "tiny_sphere"
    config.data.source = config.eval.data = f"world:{world}@train"
    config.eval.test_data = f"world:{world}@test"
    # No earlier run: what teaches is a random network.
    for teacher in config.teachers.values():
        teacher.update(run="", store="", hash="")
        teacher.shapes = ConfigDict()
    # Curricula, warm-ups and refreshes happen within the two steps.
    from avssl.objectives import objective_defaults

    for name, objective in config.objectives.items():
        for key, value in (objective_defaults(name) | objective.to_dict()).items():
            if key.endswith(WHEN) and (value or 0) > 1:
                objective[key] = 1


def smallest_world(spec: str) -> str:
    """The small sister of the world that a config asks for, where it has one."""
    from avssl.world.registry import WORLDS

    name = f"tiny_{spec.removeprefix('world:').partition('@')[0]}"
    return name if spec.startswith("world:") and name in WORLDS else "tiny"
