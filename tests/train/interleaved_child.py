"""`avssl` on a mesh along which the devices of the processes take turns, as on slices of TPUs.

    python -m tests.train.interleaved_child PYTHON -m avssl.cli VERB ...

What comes before the verb is the command that it stands in for.
"""

import sys

import jax

from avssl import cli
from avssl.train import run


def main() -> None:
    make_mesh = run.make_mesh

    def interleaved(fsdp, devices=None, **keys):
        devices = sorted(
            jax.devices() if devices is None else devices,
            key=lambda device: (device.id % jax.local_device_count(), device.process_index),
        )
        mesh = make_mesh(fsdp, devices, **keys)
        print("processes along the batch:", *(device.process_index for device in mesh.devices.flat))
        return mesh

    run.make_mesh = interleaved
    sys.exit(cli.main(sys.argv[4:]))


if __name__ == "__main__":
    main()
