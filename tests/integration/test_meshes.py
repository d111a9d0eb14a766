"""Arrays that lie on a mesh of devices, with axes that JAX places and with explicit ones."""

import jax
import pytest
from bare_python import python

pytestmark = pytest.mark.slow

CODE = """
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from trax_triplet import ranking_loss, similarity_matrix, triplet_loss

rng = np.random.default_rng(0)
v1, v2 = rng.normal(size=(2, 8, 4)).astype("float32")
ids, labels = np.arange(8) // 3, np.arange(8) % 2


def results(v1, v2, ids, labels):
    return [
        triplet_loss(v1, v2),
        triplet_loss(v1, v2, block=4, anchor="both"),
        triplet_loss(v1, v2, groups=(ids, ids), reduction="none").sum(),
        ranking_loss(v1, v2, labels),
        similarity_matrix(v1, v2).sum(),
        (jax.grad(triplet_loss)(v1, v2) ** 2).sum(),
    ]


expected = results(v1, v2, ids, labels)
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        rows = NamedSharding(mesh, PartitionSpec("rows"))
        placed = [jax.device_put(x, rows) for x in (v1, v2, ids, labels)]
        np.testing.assert_allclose(results(*placed), expected, rtol=1e-5)
        np.testing.assert_allclose(jax.jit(results)(*placed), expected, rtol=1e-5)
print("equal")
"""


@pytest.mark.skipif(
    not hasattr(jax, "set_mesh") or not hasattr(jax.sharding, "AxisType"),
    reason="this JAX has no explicit meshes",
)
def test_rows_on_a_mesh_are_the_whole_batch():
    done = python("-c", CODE, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.stdout.endswith("equal\n"), done.stderr
