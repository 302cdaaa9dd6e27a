"""The peak of the device that a step is measured on, by the name that JAX has for it."""

from avssl.plan.chips import CHIPS

# What TPUs call themselves.
TPUS = {
    "TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5e": "v5e", "TPU v5": "v5p", "TPU v5p": "v5p",
    "TPU v6 lite": "v6e", "TPU v6e": "v6e", "TPU7x": "tpu7x",
}  # fmt: skip
# bf16 products a second without sparsity, of NVIDIA's data sheets, by a part of the name; the first that is
# found counts.
GPUS = {
    "A100": 312e12, "H100 NVL": 835e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12,
    "B200": 2250e12, "L40S": 362e12,
}  # fmt: skip


def peak_flops(device_kind: str) -> float | None:
    """bf16 products a second of one device; None where nobody has written it down."""
    if name := TPUS.get(device_kind):
        return CHIPS[name].flops_per_second / CHIPS[name].devices
    return next((flops for name, flops in GPUS.items() if name in device_kind), None)
