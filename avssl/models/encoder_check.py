"""Numbers that no encoder can have, refused by the names of their keys before anything is built."""

from collections.abc import Mapping
from typing import Any

from avssl.errors import UsageError, check_number

# Keys with a number for each stage of the encoder.
PER_STAGE = ("widths", "blocks", "layers", "strides")
# Each number of a key: at least so many, and whole.
LEAST = {
    **dict.fromkeys((*PER_STAGE, "patch", "features", "stem_width", "embedding_size", "kernel"), 1),
    **dict.fromkeys(("num_classes", "pyramid_width", "height", "width", "linear"), 1),
    **dict.fromkeys(("transformer_width", "hidden", "num_heads", "num_queries"), 1),
    **dict.fromkeys(("temporal_width", "num_fusions", "head_depth", "encoder_depth"), 0),
}


def check_encoder(
    where: str, kind: str, cls: Any, fields: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """`where` is `encoders.NAME`, `known` the defaults of the encoder `kind`, whose class is `cls`."""
    for key, value in fields.items():
        several = isinstance(known[key], tuple)
        if isinstance(value, tuple) != several:
            raise UsageError(
                f"{where}.{key} must be {'several numbers' if several else 'one value'}, not {value!r}"
            )
        if several and key == "patch" and len(value) != len(known[key]):
            raise UsageError(f"{where}.patch must be {len(known[key])} numbers, not {value}")
        if key in LEAST:
            for one in value if several else (value,):
                check_number(f"{where}.{key}", one, LEAST[key])
                if not isinstance(one, int):
                    raise UsageError(f"{where}.{key} must be whole, not {one!r}")
    if "norm_epsilon" in fields:
        check_number(f"{where}.norm_epsilon", fields["norm_epsilon"], 0, above=True)
    if "norm_momentum" in fields:
        check_number(f"{where}.norm_momentum", fields["norm_momentum"], 0, 1)
    if fields.get("kernel", 1) % 2 == 0:
        raise UsageError(
            f"{where}.kernel must be odd, so that it has a middle, not {fields['kernel']}"
        )
    if (anchors := fields.get("num_anchors", 9)) != 9:
        raise UsageError(
            f"{where}.num_anchors must be 9, as many as boxes are drawn around each place, not {anchors!r}"
        )
    check_stages(where, kind, cls, {**known, **fields}, known)


def check_stages(
    where: str, kind: str, cls: Any, fields: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Keys with a number for each stage grow and shrink together, where the encoder lets them at all."""
    usual = {key: len(known[key]) for key in PER_STAGE if key in known}
    given = {key: len(fields[key]) for key in usual}
    more = {given[key] - usual[key] for key in usual}
    fixed = getattr(cls, "fixed_stages", False)
    if 0 in given.values() or len(more) > 1 or (fixed and more - {0}):
        said = ", ".join(f"{number} of {where}.{key}" for key, number in given.items())
        wanted = ", ".join(f"{number} {key}" for key, number in usual.items())
        freedom = "" if fixed else ", or as many more or fewer of each"
        raise UsageError(f"{kind} cannot have {said}: it takes {wanted}{freedom}")
