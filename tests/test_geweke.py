"""Joint-distribution test (Geweke 2004): a kernel's step and new data in turn leave prior and noise as they are.

Chains start from exact draws of parameters and data. Each turn makes one step of the kernel on the posterior of the
present data, then draws data anew. After every step the parameters, standardised by their prior, and the residuals of
the data behind the step are independent standard normals; averages over chains are independent and have exact
expectations. Each test raises a false alarm with probability 1e-6. The full suite is `pytest -m slow`.
"""

import numpy as np
import pytest
from laws import statistics
from laws.kernels import BACKENDS, EXAMPLES, ONE_EACH, transition
from laws.models import MODELS


def check_joint(model, kernel, what, backend, chains, turns, seed):
    if model == "normal sample":
        pytest.importorskip("numba")
    problem, rng = MODELS[model], np.random.default_rng(seed)
    in_place = model == "normal sample"  # a Numba density refers to its data: new data need no new density
    parameters = problem.draw_parameters(rng)
    data = problem.draw_data(rng, parameters)
    density, moved = problem.posterior(data), 0
    z = np.empty((chains, turns, len(problem.standardise(parameters, data))))
    for chain in range(chains):
        parameters = problem.draw_parameters(rng)
        for turn in range(turns):
            data[...] = problem.draw_data(rng, parameters)
            if not in_place:
                density = problem.posterior(data)
            before, parameters = parameters, transition(density, kernel, rng, parameters, backend)
            z[chain, turn] = problem.standardise(parameters, data)
            moved += not np.array_equal(before, parameters)
    statistics.assert_standard_normal_chains(z, what)
    statistics.assert_standard_normal_points(z[:, -1], what)
    # not a chain that stands still: the coarsest kernels move at 2 % of their turns
    assert moved > 0.01 * chains * turns


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ONE_EACH)
def test_joint_distribution(name, model, backend):
    kernel = ONE_EACH[name](MODELS[model].dim)
    check_joint(model, kernel, f"{name}, {model}", backend, chains=400, turns=15, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_joint_distribution_sharper(example, model, backend):
    kernel = EXAMPLES[example](MODELS[model].dim)
    check_joint(model, kernel, f"{example}, {model}", backend, chains=2000, turns=50, seed=2)
