"""One adapter per sampler: everything compiled beforehand, then `run(seed)` is one timed sampling of a model.

What is inside the time: the one call that samples all chains, warm-up included, up to the draws in memory in the form
in which the library keeps them (micropolis: the finished Trace; nutpie: the Arrow record batches of
`return_raw_trace`, without its much slower conversion to ArviZ). What is outside: compiling the density, tracing and
compiling JAX programs, reshaping draws for the diagnostics.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import loops
import numpy as np
from models import Model

# Starting points are uniform on (-2, 2) wherever the sampler takes one, as Stan's are.
START = 2.0


@dataclass(frozen=True)
class Plan:
    """The job that every sampler is given."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    threads: int = 2
    target_accept: float = 0.8


class Record(NamedTuple):
    """One run: draws (chains, draws, dim), wall time, gradient evaluations with warm-up (None: not reported)."""

    draws: Any
    seconds: float
    n_grad: int | None


Run = Callable[[int], Record]


class Sampler(NamedTuple):
    """`prepare(model, plan)` compiles and returns the run, or None where the sampler does not apply to the model."""

    prepare: Callable[[Model, Plan], Run | None]
    requires: str
    note: str


def available(sampler: Sampler) -> bool:
    """Whether the library behind a sampler can be imported."""
    return importlib.util.find_spec(sampler.requires) is not None


# -- micropolis -------------------------------------------------------------------------------------------------------


def _micropolis(density: Any, plan: Plan) -> Run:
    import micropolis as mp

    kernel = mp.NUTS(target_accept=plan.target_accept)

    def run(seed: int) -> Record:
        begin = time.perf_counter()
        trace = mp.sample(
            density,
            kernel,
            draws=plan.draws,
            warmup=plan.warmup,
            chains=plan.chains,
            threads=plan.threads,
            seed=seed,
            progress=False,
        )
        seconds = time.perf_counter() - begin
        n_grad = int(np.sum(trace.stats["n_grad"])) + int(np.sum(trace.warmup_stats["n_grad"]))
        return Record(trace.draws, seconds, n_grad)

    return run


def micropolis_numba(model: Model, plan: Plan) -> Run:
    """NUTS on `Density.from_numba` of the model's Numba function."""
    import micropolis as mp

    return _micropolis(mp.Density.from_numba(model.logp_grad, model.dim), plan)


def micropolis_pointer(model: Model, plan: Plan) -> Run:
    """NUTS on the very address that nutpie and walnutpie are given."""
    import micropolis as mp

    density = mp.Density.from_pointer(model.cfunc.address, model.dim, keep_alive=model.cfunc)
    return _micropolis(density, plan)


def micropolis_builtin(model: Model, plan: Plan) -> Run | None:
    """NUTS on the density of micropolis' own library."""
    import micropolis as mp

    return None if model.builtin is None else _micropolis(model.builtin(mp), plan)


# -- compiled peers ---------------------------------------------------------------------------------------------------


def nutpie(model: Model, plan: Plan) -> Run:
    """nutpie's diagonal NUTS on the C function, called by its Rust threads without the GIL.

    `CompiledPyMCModel` is what nutpie makes of a PyMC model: two C functions, one for the density and one that expands
    a point into the variables that are stored. Here the second copies the point.
    """
    import numba
    import nutpie as library
    from numba import types
    from nutpie.compile_pymc import CompiledPyMCModel

    dim = model.dim
    pointer = types.CPointer(types.float64)

    @numba.cfunc(types.int64(types.uint64, types.uint64, pointer, pointer, types.voidptr))
    def expand(_, __, x, out, ___):
        for i in range(dim):
            out[i] = x[i]
        return 0

    compiled = CompiledPyMCModel(
        dims={},
        compiled_logp_func=model.cfunc,
        compiled_expand_func=expand,
        initial_point_func=lambda seed: np.random.default_rng(seed).uniform(-START, START, dim),
        shared_data={},
        user_data=np.zeros(1),
        n_expanded=dim,
        shape_info=(["x"], [slice(0, dim)], [(dim,)]),
        logp_func=None,
        expand_func=None,
        _n_dim=dim,
        _shapes={"x": (dim,)},
        _coords={},
    )

    def run(seed: int) -> Record:
        begin = time.perf_counter()
        trace = library.sample(
            compiled,
            draws=plan.draws,
            tune=plan.warmup,
            chains=plan.chains,
            cores=plan.threads,
            seed=seed,
            target_accept=plan.target_accept,
            progress_bar=False,
            return_raw_trace=True,
        )
        seconds = time.perf_counter() - begin
        batches, stats = trace.get_arrow_trace()
        draws = np.stack([_arrow_rows(batch, dim)[plan.warmup :] for batch in batches])
        return Record(draws, seconds, sum(int(np.sum(_arrow(batch.column("n_steps")))) for batch in stats))

    return run


def _arrow(column: Any) -> Any:
    import pyarrow

    return pyarrow.array(column).to_numpy(zero_copy_only=False)


def _arrow_rows(batch: Any, dim: int) -> Any:
    import pyarrow

    return pyarrow.array(batch.column("x")).flatten().to_numpy().reshape(-1, dim)


def walnutpie(model: Model, plan: Plan) -> Run:
    """WALNUTS on the C function; early stopping is off (least = most iterations).

    It starts one thread per chain and reports no gradient counts; the comparison holds the process to as many CPUs as
    the plan has threads.
    """
    import walnutpie as library

    function = library.logp_cfunc_type(model.cfunc.address)

    def run(seed: int) -> Record:
        begin = time.perf_counter()
        chains = library.walnuts_pyfunc(
            (function, None),
            num_params=model.dim,
            num_chains=plan.chains,
            seed=seed,
            min_warmup_iter=plan.warmup,
            max_warmup_iter=plan.warmup,
            min_sampling_iter=plan.draws,
            max_sampling_iter=plan.draws,
            step_accept_rate_target=plan.target_accept,
        )
        return Record(np.stack(chains), time.perf_counter() - begin, None)

    return run


def blackjax(model: Model, plan: Plan) -> Run:
    """Window adaptation and NUTS in one jitted program, vectorised over chains, float64 on the CPU."""
    import blackjax as library
    import jax

    jax.config.update("jax_enable_x64", True)
    logp = model.jax_logp(jax.numpy)
    adaptation = library.window_adaptation(
        library.nuts,
        logp,
        target_acceptance_rate=plan.target_accept,
        adaptation_info_fn=lambda state, info, _: info.num_integration_steps,
    )

    def chain(key: Any) -> Any:
        start_key, warmup_key, draw_key = jax.random.split(key, 3)
        start = jax.random.uniform(start_key, (model.dim,), minval=-START, maxval=START)
        (state, parameters), warmup_grads = adaptation.run(warmup_key, start, num_steps=plan.warmup)
        step = library.nuts(logp, **parameters).step

        def advance(state: Any, key: Any) -> Any:
            state, info = step(key, state)
            return state, (state.position, info.num_integration_steps)

        _, (draws, grads) = jax.lax.scan(advance, state, jax.random.split(draw_key, plan.draws))
        return draws, warmup_grads.sum() + grads.sum()

    program = jax.jit(jax.vmap(chain)).lower(jax.random.split(jax.random.PRNGKey(0), plan.chains)).compile()

    def run(seed: int) -> Record:
        begin = time.perf_counter()
        draws, n_grad = jax.block_until_ready(program(jax.random.split(jax.random.PRNGKey(seed), plan.chains)))
        seconds = time.perf_counter() - begin
        return Record(np.asarray(draws), seconds, int(np.sum(n_grad)))

    return run


def emcee(model: Model, plan: Plan) -> Run:
    """The affine-invariant stretch move on an ensemble of 2 dim walkers, the density vectorised over walkers.

    Each walker makes warm-up + draws moves; the diagnostics take walkers for chains.
    """
    import emcee as library

    walkers = 2 * model.dim

    def run(seed: int) -> Record:
        rng = np.random.default_rng(seed)
        begin = time.perf_counter()
        ensemble = library.EnsembleSampler(walkers, model.dim, model.logp, vectorize=True)
        start = library.State(
            rng.uniform(-START, START, (walkers, model.dim)),
            random_state=np.random.RandomState(seed).get_state(),
        )
        ensemble.run_mcmc(start, plan.warmup + plan.draws)
        draws = ensemble.get_chain(discard=plan.warmup)
        return Record(draws.swapaxes(0, 1), time.perf_counter() - begin, 0)

    return run


# -- loops written by hand --------------------------------------------------------------------------------------------


def _numpy_loop(chain: Callable[..., Any], model: Model, plan: Plan) -> Run:
    def run(seed: int) -> Record:
        seeds = np.random.SeedSequence(seed).generate_state(plan.chains)
        begin = time.perf_counter()
        chains = [chain(model, plan.warmup, plan.draws, plan.target_accept, int(s)) for s in seeds]
        draws = np.stack([draws for draws, _ in chains])
        return Record(draws, time.perf_counter() - begin, sum(n_grad for _, n_grad in chains))

    return run


def _numba_loop(chain: Callable[..., Any], model: Model, plan: Plan) -> Run:
    chain(1, 1, plan.target_accept, 0)

    def run(seed: int) -> Record:
        seeds = np.random.SeedSequence(seed).generate_state(plan.chains)
        begin = time.perf_counter()
        with ThreadPoolExecutor(plan.threads) as pool:
            jobs = [pool.submit(chain, plan.warmup, plan.draws, plan.target_accept, int(s)) for s in seeds]
            chains = [job.result() for job in jobs]
        draws = np.stack([draws for draws, _ in chains])
        return Record(draws, time.perf_counter() - begin, sum(n_grad for _, n_grad in chains))

    return run


SAMPLERS: dict[str, Sampler] = {
    "micropolis": Sampler(micropolis_numba, "micropolis", "NUTS, Density.from_numba"),
    "micropolis pointer": Sampler(
        micropolis_pointer, "micropolis", "NUTS, Density.from_pointer: the peers' own address"
    ),
    "micropolis builtin": Sampler(micropolis_builtin, "micropolis", "NUTS, the library's density"),
    "nutpie": Sampler(nutpie, "nutpie", "diagonal NUTS, same cfunc"),
    "walnutpie": Sampler(walnutpie, "walnutpie", "WALNUTS, same cfunc"),
    "BlackJAX": Sampler(blackjax, "blackjax", "window adaptation + NUTS, jitted, vmap over chains"),
    "emcee": Sampler(emcee, "emcee", "stretch move, 2 dim walkers, vectorised"),
    "NumPy HMC": Sampler(lambda m, p: _numpy_loop(loops.numpy_hmc, m, p), "numpy", "loop by hand, one thread"),
    "Numba HMC": Sampler(
        lambda m, p: _numba_loop(loops.numba_hmc(m.logp_grad, m.dim), m, p), "numba", "loop by hand, threads"
    ),
    "NumPy random walk": Sampler(
        lambda m, p: _numpy_loop(loops.numpy_random_walk, m, p), "numpy", "loop by hand, one thread"
    ),
    "Numba random walk": Sampler(
        lambda m, p: _numba_loop(loops.numba_random_walk(m.logp_grad, m.dim), m, p), "numba", "loop by hand, threads"
    ),
}
