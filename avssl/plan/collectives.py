"""What devices send each other in one instruction of a compiled program."""

import dataclasses
import re

from avssl.errors import AvsslError
from avssl.plan.instructions import Instruction, size

# Kinds by the name of the instruction; the `-done` half of an asynchronous pair repeats its result.
COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute",
    "collective-broadcast",
)  # fmt: skip
GROUPS = re.compile(
    r"replica_groups=(?:"
    r"(?P<all>\{\})"
    r"|\{\{(?P<first>[\d,]+)\}"
    r"|\[\d+,(?P<size>\d+)\]<="
    # Of TPUs: mesh['a'=4,'b'=1,'c'=4], device_ids=([4,4]T(1,0)) {'a','c'}
    r"|mesh\[(?P<mesh>[^\]]*)\][^{}]*\{(?P<axes>[^}]*)\}"
    r")"
)
MESH_AXIS = re.compile(r"'?([^',=]+)'?=(\d+)")
# A part of an axis is written as 'a':(2)4, four that lie within each of two.
GROUP_AXIS = re.compile(r"'?([^',:]+)'?(?::\(\d+\)(\d+)'?)?")
CHANNEL = re.compile(r"\bchannel_id=(\d+)")


@dataclasses.dataclass(frozen=True)
class Collective:
    """bytes_sent: by one device, at best (ring or torus): 2 (n-1)/n of what an all-reduce sums, and so on."""

    kind: str
    runs: int
    bytes_sent: float


def collective_kind(one: Instruction) -> str:
    """Empty for what is none; the second half of an asynchronous pair sends nothing more."""
    return next((kind for kind in COLLECTIVES if one.opcode in (kind, f"{kind}-start")), "")


def channel(one: Instruction) -> str:
    found = CHANNEL.search(one.text)
    return found[1] if found else ""


def bytes_sent(kind: str, one: Instruction, num_devices: int) -> float:
    """By one device, at best: what rings send."""
    total = size(one.results)
    if kind == "collective-permute":
        return total
    members = group_size(one, num_devices)
    share = (members - 1) / members
    if kind == "all-reduce":
        return 2 * share * total
    if kind == "reduce-scatter" and not one.opcode.startswith("all-reduce"):
        return share * total * members
    return share * total


def group_size(one: Instruction, num_devices: int) -> int:
    """How many devices speak with each other."""
    found = GROUPS.search(one.text)
    if found is None:
        raise unknown_groups(one)
    if found["all"]:
        return num_devices
    if found["first"]:
        return found["first"].count(",") + 1
    if found["size"]:
        return int(found["size"])
    sizes = {name: int(size) for name, size in MESH_AXIS.findall(found["mesh"])}
    members = 1
    for axis in filter(None, found["axes"].split(",")):
        named = GROUP_AXIS.fullmatch(axis.strip())
        if named is None or named[1] not in sizes:
            raise unknown_groups(one)
        members *= int(named[2] or sizes[named[1]])
    return members


def unknown_groups(one: Instruction) -> AvsslError:
    written = one.text.partition("replica_groups=")[2][:60] or "nothing"
    return AvsslError(
        f"the compiler writes '{written}' for the devices that '{one.name}' is over, which is no known form: "
        "what they send cannot be counted; try libtpu 0.0.42.1"
    )
