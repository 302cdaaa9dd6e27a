"""The configuration of a run: defaults, files with variants, overrides from the command line, checks.

A config is a `ConfigDict`. A sub-dict's keys are exactly the fields of the thing it builds (a view, an
encoder, an objective), so no key is declared twice. `resolve` writes every default in, and what it
returns is what `config.json` in the run folder holds.
"""

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avssl.errors import UsageError, unknown

if TYPE_CHECKING:

    class ConfigDict(dict[str, Any]):
        """What a type checker may know of a config: any attribute is a key."""

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...
        def to_dict(self) -> dict[str, Any]: ...
        def ignore_type(self) -> Any: ...

else:
    from ml_collections import ConfigDict

# What may differ between a run folder and the command that resumes it: none of these moves a number
# (`data.num_records` follows from the data, whose fingerprint is compared).
FREE_KEYS = (
    "parallel.", "data.workers", "data.cache", "data.local_cache", "data.num_records", "log_every_steps",
    "checkpoint.", "eval.",
)  # fmt: skip
# Where a teacher lies: its hash says what it is.
FREE_PATHS = re.compile(r"teachers\.[^.]+\.(run|store)$")
# Sub-dicts whose keys are names the user chooses.
OPEN_SECTIONS = ("views", "encoders", "objectives", "teachers")
# Keys that hold a text or None.
OPTIONAL_TEXTS = (".frontend.statistics", "data.local_cache")
# Of encoders that name none of their own.
USUAL_FRONTENDS = {"video": "rgb", "audio": "log_mel"}


def base() -> ConfigDict:
    """What every run shares. A config file starts here and states what differs."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 1000,
            "batch_size": 64,  # of all devices and hosts together
            "precision": "float32",  # float32 | bf16 (compute only) | float64 (proofs on CPU)
            "init_from": "",  # run folder whose parameters to start from
            "log_every_steps": 10,
            "data": {
                "source": "world:quickstart@train",
                "workers": 0,
                "cache": "none",  # memory | disk | none
                "cache_gigabytes": 2.0,
                "local_cache": None,  # folder for copies of the records of a built set that lies far away
                "local_cache_gib": None,  # at most so much of them
                "max_bad_fraction": 0.01,
                "holdout_fraction": 0.0,  # kept out of training, chosen by a hash of the key
                "class_balanced": False,  # each class is drawn as often as any other
                "with_replacement": False,  # samples are drawn one by one, not in epochs
                "mixup": None,  # alpha of the Beta that clips are mixed in pairs by (train/mixup.py)
                "mixup_share": None,  # of the clips, how many are mixed; None: all
                "mixup_weight": None,  # of each in its mixture, in place of draws by `mixup`: 0.5 is the mean
                "num_records": 0,  # of the source; stated only to plan a run without opening it
            },
            "views": {
                "video": {"modality": "video"},
                "audio": {"modality": "audio"},
            },
            "encoders": {},
            "objectives": {},
            "teachers": {},  # frozen encoders whose targets objectives ask for
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": "cosine",  # constant | cosine
                "warmup_steps": 0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # 0: no clipping
                "accumulate": 1,  # micro-batches per step; the loss still sees the whole batch
                "arguments": {},  # further keyword arguments of the optax optimiser
                "rules": (),  # (regular expression on the parameter path, {learning_rate, weight_decay})
                "layer_decay": None,  # rate times this to the power of an encoder layer's depth from the top
                "head_warmup_steps": None,  # for so many steps the encoders stay as they are
                "frozen": (),  # regular expressions on the paths of parameters that stay as they are
            },
            "ema": {"decay": 0.0},  # 0: none
            "parallel": {
                "mode": "mesh",  # mesh | pmap
                "fsdp": 1,
                "rules": (),  # (regular expression on the parameter path, axis to shard or None)
            },
            "checkpoint": {"every_steps": 1000, "keep": 3},
            "eval": {
                "protocols": ("knn", "linear", "retrieval"),
                "data": "",  # empty: the training data
                "test_data": "",  # empty: a held-out part of the above
                "clips": None,  # windows of each clip that classification and tagging average; None: 1
                "crops": None,  # of each of them so many crops along the longer side; None: 1
                "layers": (),  # of the encoders, probed beside their embeddings: ("video.layer2",)
                "alpha": None,  # share of the audio-visual map in one that is fused with objects; None: none
                "object_encoder": None,  # the run whose map of objects that is fused with; None: this one
                "every_steps": None,  # during training too, every so many steps; None: at its end alone
                "offset_frames": None,  # to either side, where synchronization searches for the sound; None: 15
            },
        }
    )


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
            encoder.size = "tiny"
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
    for objective in config.objectives.values():
        for key, value in objective.items():
            if key.endswith(("_from_step", "warmup_steps", "_every_steps")) and value > 1:
                objective[key] = 1


def smallest_world(spec: str) -> str:
    """The small sister of the world that a config asks for, where it has one."""
    from avssl.world.registry import WORLDS

    name = f"tiny_{spec.removeprefix('world:').partition('@')[0]}"
    return name if spec.startswith("world:") and name in WORLDS else "tiny"


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


def parse_value(key: str, text: str, like: Any) -> Any:
    """The text of a flag as a value of the type that stands in the config already."""
    if isinstance(like, str):
        return None if text == "None" and key.endswith(OPTIONAL_TEXTS) else text
    if isinstance(like, bool):
        if text.lower() in ("true", "false", "1", "0"):
            return text.lower() in ("true", "1")
        raise UsageError(f"--config.{key} takes true or false, not '{text}'")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(like, tuple | list):
        if isinstance(value, str):
            return tuple(part for part in value.split(",") if part)
        return tuple(value) if isinstance(value, tuple | list) else (value,)
    if like is not None and type(value) is not type(like):
        raise UsageError(f"--config.{key} takes {type(like).__name__}, not '{text}'")
    return value


def override(config: ConfigDict, overrides: Iterable[tuple[str, str]]) -> None:
    """Applies `--config.a.b=value` flags in order. A key that does not exist is an error with the nearest."""
    from avssl.objectives import objective_defaults
    from avssl.teachers.spec import teacher_defaults

    for dotted, text in overrides:
        parts = dotted.split(".")
        if parts[0] == "encoders" and len(parts) > 1 and parts[1] in config.encoders:
            keys = config.encoders[parts[1]].to_dict()
            if parts[-1] != "name":
                complete = encoder_defaults(parts[1], keys)
                keys = {**complete, **keys, "frontend": complete["frontend"]}
            elif len(parts) == 3:
                keys = taken_over(keys, text)
            elif parts[2] == "frontend":
                keys["frontend"] = frontend_taken_over(keys.get("frontend", {}), text)
            config.encoders[parts[1]] = ConfigDict(keys)
        if parts[0] == "views" and len(parts) > 1 and parts[1] in config.views:
            config.views[parts[1]] = view_keys(parts[1], config.views[parts[1]])
        if parts[0] == "teachers" and len(parts) > 1 and parts[1] in config.teachers:
            keys = {**teacher_defaults(), **config.teachers[parts[1]].to_dict()}
            config.teachers[parts[1]] = ConfigDict(keys)
        if parts[0] == "objectives" and len(parts) > 1:
            name = parts[1]
            config.objectives[name] = ConfigDict(
                {**objective_defaults(name), **config.objectives.get(name, {})}
            )
        if dotted.startswith("optimizer.arguments."):  # the optimiser knows which there are
            name = dotted.removeprefix("optimizer.arguments.")
            if name not in config.optimizer.arguments:
                config.optimizer.arguments[name] = None
        node: Any = config
        for depth, part in enumerate(parts[:-1]):
            if not isinstance(node, ConfigDict) or part not in node:
                raise unknown_key(config, dotted, ".".join(parts[: depth + 1]))
            node = node[part]
        if not isinstance(node, ConfigDict) or parts[-1] not in node:
            raise unknown_key(config, dotted, dotted)
        current = node[parts[-1]]
        if parts[0] in OPEN_SECTIONS and type(current) is int and wants_fraction(parts):
            current = float(current)  # written as `weight=1` in a config file
        if isinstance(current, ConfigDict):
            keys = ", ".join(sorted(current)) or f"{dotted}.NAME"
            raise UsageError(f"--config.{dotted} is a group; set one of its keys: {keys}")
        with node.ignore_type():
            node[parts[-1]] = parse_value(dotted, text, current)


def taken_over(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keys of an encoder's config that still mean something once it is another encoder."""
    from avssl.models.registry import ENCODERS, NOT_FIELDS, encoder_fields

    if name not in ENCODERS:  # said later, with the nearest
        return dict(keys)
    known = {*NOT_FIELDS, *encoder_fields(ENCODERS[name])}
    if any(hasattr(ENCODERS.get(kind), "frontend") for kind in (name, keys.get("name", ""))):
        known -= {"frontend"}  # one of the two hears what other encoders do not
    return {key: value for key, value in keys.items() if key in known}


def frontend_taken_over(keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keys of a front end that still mean something once it is another one."""
    from avssl.signal.frontends import FRONTENDS

    known = set()
    if name in FRONTENDS:  # else said later, with the nearest
        known = {field.name for field in dataclasses.fields(FRONTENDS[name])}
    return {"name": name, **{key: value for key, value in keys.items() if key in known}}


def wants_fraction(parts: list[str]) -> bool:
    """Whether the owner of a key of an objective or a view takes fractions there."""
    if parts[0] == "objectives":
        from avssl.objectives import objective_defaults

        return isinstance(objective_defaults(parts[1]).get(parts[-1]), float)
    if parts[0] == "views":
        from avssl.data.views import VIEWS

        return any(isinstance(getattr(cls, parts[-1], None), float) for cls in VIEWS.values())
    return False


def unknown_key(config: ConfigDict, dotted: str, missing: str) -> UsageError:
    return unknown("config key", missing if missing != dotted else dotted, flatten(config))


def resolve(config: ConfigDict, *, trains: bool = True) -> ConfigDict:
    """The complete, checked config: every default of every view, encoder and objective written in.

    trains: False of encoders that came without a run and that nothing trains, which need no objective.
    """
    from avssl.config_check import check
    from avssl.objectives import objective_defaults
    from avssl.teachers.spec import build_specs

    known = flatten(base())
    for key in flatten(config):
        free = key.split(".")[0] in OPEN_SECTIONS or key.startswith("optimizer.arguments.")
        if not free and key not in known:
            raise unknown("config key", key, known)
    config = ConfigDict(config.to_dict())
    for name, view in list(config.views.items()):
        config.views[name] = view_keys(name, view)
    for name, encoder in list(config.encoders.items()):
        keys = encoder.to_dict()
        complete = encoder_defaults(name, keys)
        check_frontend(name, complete["frontend"])
        config.encoders[name] = ConfigDict({**complete, **keys, "frontend": complete["frontend"]})
    for name, keys in list(config.objectives.items()):
        defaults = objective_defaults(name)
        for key in keys:
            if key not in defaults:
                raise unknown(f"key of objective '{name}'", key, defaults)
        config.objectives[name] = ConfigDict({**defaults, **keys.to_dict()})
    for name, spec in build_specs(config).items():
        config.teachers[name] = ConfigDict(dataclasses.asdict(spec))
    check(config, trains=trains)
    return config


def view_keys(name: str, view: ConfigDict) -> ConfigDict:
    """The complete keys of `views.NAME`; whether it may name another view, `check` looks at all of them."""
    from avssl.data.views import NAMED_VIEWS, build_view

    own = view.to_dict()
    named = {
        key: own.pop(key, "")
        for key, modality in NAMED_VIEWS.items()
        if own.get("modality") == modality
    }
    built = build_view(name, own)
    return ConfigDict({"modality": built.modality, **dataclasses.asdict(built), **named})


def usual_frontend(encoder: Any) -> Mapping[str, Any]:
    """The front end of an encoder whose config names none, with the keys that differ from its defaults."""
    return getattr(encoder, "frontend", {"name": USUAL_FRONTENDS[encoder.modality]})


def encoder_defaults(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The complete keys of `encoders.NAME` for the encoder and the front end that it names."""
    from avssl.models.registry import ENCODERS, encoder_fields
    from avssl.signal.frontends import FRONTENDS

    kind = config.get("name")
    if kind not in ENCODERS:
        raise unknown(f"encoder in encoders.{name}.name", str(kind), ENCODERS)
    modality = ENCODERS[kind].modality
    default = usual_frontend(ENCODERS[kind])
    frontend = dict(config.get("frontend", {}))
    if frontend.setdefault("name", default["name"]) == default["name"]:
        frontend = {**default, **frontend}
    if frontend["name"] not in FRONTENDS:
        raise unknown(f"front end of encoders.{name}", frontend["name"], FRONTENDS)
    # An encoder of another modality than its config says is a mistake that `build_encoder` tells of.
    meant = config.get("modality", modality) == modality
    if meant and FRONTENDS[frontend["name"]].modality != modality:
        fitting = ", ".join(key for key, cls in FRONTENDS.items() if cls.modality == modality)
        raise UsageError(
            f"encoders.{name}.frontend.name={frontend['name']} is not for {modality}, which the encoder "
            f"'{kind}' takes: give one of {fitting}"
        )
    known = {field.name: field.default for field in dataclasses.fields(FRONTENDS[frontend["name"]])}
    for key in frontend:
        if key != "name" and key not in known:
            raise unknown(f"key of encoders.{name}.frontend", key, known)
    fields = encoder_fields(ENCODERS[kind])
    return {"modality": modality, **fields, "frontend": {**known, **frontend}}


def check_frontend(name: str, keys: Mapping[str, Any]) -> None:
    """Refuses values of `encoders.NAME.frontend` that no front end can have."""
    from avssl.signal.frontends import build_frontend

    try:
        build_frontend(keys)
    except UsageError as error:
        raise UsageError(f"encoders.{name}.frontend: {error}") from error


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values; an empty group stands for itself."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | dict) and len(value):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON types."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: dict[str, Any]) -> ConfigDict:
    return ConfigDict(values)


def run_config(workdir: Path) -> ConfigDict:
    """The config of a run folder."""
    file = workdir / "config.json"
    if not file.is_file():
        raise UsageError(
            f"{workdir} is no run folder: it has no config.json; see `avssl pretrain --help`"
        )
    try:
        return from_json(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UsageError(f"{file} is damaged: {error}") from error


def says_nothing(value: Any) -> bool:
    """Whether a key that runs of before did not know of is at what they did: empty, or switched off."""
    return value is None or value is False or value in ("", {}, (), [])


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys of two flat configs that do not say the same, in order; of configs inside them, theirs.

    A key that one of them did not know of counts only where it says something, and nothing is said in any way.
    """
    keys = []
    for key in sorted(old.keys() | new.keys()):
        sides = [side[key] for side in (old, new) if key in side]
        if len(sides) == 1:
            keys += [] if says_nothing(sides[0]) else [key]
        elif all(isinstance(side, dict) for side in sides):
            keys += [f"{key}.{inner}" for inner in changed_keys(*sides)]
        elif sides[0] != sides[1] and not all(map(says_nothing, sides)):
            keys.append(key)
    return keys


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What moves the numbers between two resolved configs, one line each: `key: old -> new`."""
    flat_old, flat_new = flatten(old), flatten(new)
    lines = []
    for key in changed_keys(flat_old, flat_new):
        if key.startswith(FREE_KEYS) or FREE_PATHS.match(key):
            continue
        before, after = flat_old.get(key, "absent"), flat_new.get(key, "absent")
        longer = key == "steps" and before != "absent" and after != "absent" and after > before
        if longer and flat_new["optimizer.schedule"] == "constant":
            continue
        lines.append(f"{key}: {before} -> {after}")
    return lines
