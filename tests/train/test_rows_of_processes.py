"""Which rows of the global batch the devices of a process hold, along the mesh of a pod."""

import importlib.util

import numpy as np
import pytest

from avssl.plan.topology import find_topology
from avssl.train.mesh import make_mesh, place_on_mesh, rows_of_process


def test_one_process_holds_all_rows():
    mesh = make_mesh(fsdp=2)
    rows = rows_of_process(mesh, 16)
    np.testing.assert_array_equal(rows, np.arange(16))
    np.testing.assert_array_equal(place_on_mesh(mesh)(rows), rows)


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu knows where TPUs lie"
)
@pytest.mark.parametrize("fsdp", [1, 4, 16])
def test_hosts_of_a_pod_hold_rows_that_are_no_neighbours(fsdp):
    devices = find_topology("v5e:4x4").devices
    mesh = make_mesh(fsdp, devices)
    rows = {host: rows_of_process(mesh, 32, host) for host in range(4)}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(32))
    for host, own in rows.items():
        assert len(own) == 8
        for place, device in enumerate(mesh.devices.flat):
            assert (2 * place in own) == (2 * place + 1 in own) == (device.process_index == host)
    assert any(np.any(np.diff(own) > 1) for own in rows.values())


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu knows where TPUs lie"
)
def test_for_pmap_hosts_of_a_pod_hold_neighbours():
    mesh = make_mesh(1, find_topology("v5e:4x4").devices, by_process=True)
    for host in range(4):
        own = rows_of_process(mesh, 32, host)
        np.testing.assert_array_equal(own, np.arange(8) + 8 * host)
