"""Trace: names, files equal to the bit, files that do not fit, ArviZ's own numbers."""

import dataclasses
import os
import pickle
import sys
import types

import numpy as np
import pytest
from laws.records import TraceTestKernel

from micropolis.errors import (
    InputError,
    InputTypeError,
    MicropolisError,
    MissingExtraError,
    TraceFileError,
    TraceWriteError,
)
from micropolis.parameters import CorrelationCholesky, ParameterSpace
from micropolis.protocol import KERNELS, Kernel, options_as_dict
from micropolis.trace import Trace

GENERATORS = [np.random.SFC64, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.MT19937]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    # only here: a registered kernel would inherit the law and twin tests
    monkeypatch.setitem(KERNELS, "trace_test", TraceTestKernel)


class Space:
    """Stand-in for a ParameterSpace: tau = exp(x0), theta = x1..x3, chol (2, 2) from the same."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def constrain_draws(self, draws):
        tau = self.scale * np.exp(draws[:, :, 0])
        return {"tau": tau, "theta": draws[:, :, 1:], "chol": draws.reshape(*draws.shape[:2], 2, 2)}

    def to_json(self):
        return {"scale": self.scale, "kinds": ["positive", "real"]}

    @classmethod
    def from_json(cls, content):
        assert content["kinds"] == ["positive", "real"]
        return cls(content["scale"])


@pytest.fixture
def space(monkeypatch):
    module = types.ModuleType("micropolis.parameters")
    module.ParameterSpace = Space
    monkeypatch.setitem(sys.modules, "micropolis.parameters", module)
    return Space(0.1 + 0.2)


def make(chains=4, draws=50, dim=4, dtype="f8", seed=0, **changes):
    rng = np.random.default_rng(seed)
    stats = np.zeros((chains, draws), TraceTestKernel.INFO)
    for field in ("logp", "accept_prob", "energy", "step_size"):
        stats[field] = rng.standard_normal(stats.shape)
    stats["accepted"], stats["n_grad"], stats["depth"] = True, 7, rng.integers(1, 5, stats.shape)
    warmup = stats[:, : draws // 2].copy()
    values = dict(
        draws=rng.standard_normal((chains, draws, dim)).astype(dtype),
        stats=stats,
        warmup_stats=warmup,
        kernels=tuple(TraceTestKernel(rng.random(), inverse_mass=rng.random((dim, dim))) for _ in range(chains)),
        names=tuple(f"x[{i}]" for i in range(dim)),
        states=[{"x": rng.standard_normal(dim), "logp": np.array([-np.inf])} for _ in range(chains)],
        rng_states=[GENERATORS[c % 5](seed + c).state for c in range(chains)],
    )
    return Trace(**{**values, **changes})


def everything():
    """A trace that uses every field, with the values that are hard to keep: NaN, -0.0, 128 bits, no elements."""
    draws = np.random.default_rng(5).standard_normal((5, 7, 4))
    draws[1, 0] = [np.nan, -0.0, 5e-324, np.inf]
    return make(
        chains=5,
        draws=7,
        thin=3,
        recipe=("Gaussian", {"mean": np.arange(4.0), "std": 0.1 + 0.2}),
        ragged=[{"draws": draws[c, :c], "stats": np.zeros(c, TraceTestKernel.INFO)} for c in range(5)],
        warmup_done=12,
        seconds=(0.25, 1 / 3),
        settings={
            "backend": "c",
            "threads": None,
            "draws": 1000,
            "big": 2**127 + 1,
            "x": [1, (2.5, "é")],
            "f": np.float32(0.1),
        },
        adaptation=[None, {}, {"mean": draws[1, 0], "count": np.int64(3)}, None, {"window": np.zeros((0, 4))}],
    )


def same(a, b):
    """Equal to the bit: types, dtypes, shapes and bytes (of each field; padding is not data)."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, (np.ndarray, np.generic)):
        assert a.dtype == b.dtype and a.dtype.isalignedstruct == b.dtype.isalignedstruct and a.shape == b.shape
        for field in a.dtype.names or [...]:
            assert np.asarray(a[field]).tobytes() == np.asarray(b[field]).tobytes()
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other)
    elif isinstance(a, Kernel):
        same(options_as_dict(a), options_as_dict(b))
    elif isinstance(a, Space):
        same(a.scale, b.scale)
    else:
        assert repr(a) == repr(b)


def same_trace(a, b):
    for field in dataclasses.fields(Trace):
        same(getattr(a, field.name), getattr(b, field.name))


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_save_and_load_are_equal_to_the_bit(tmp_path, dtype):
    trace = everything()
    trace.draws = trace.draws.astype(dtype)
    trace.draws[0, 0] = [np.nan, -0.0, 1e-45, np.inf]
    trace.save(tmp_path / "run.npz")
    loaded = Trace.load(str(tmp_path / "run.npz"))
    same_trace(trace, loaded)
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:  # NumPy reads it as well
        same(file["states/2/x"], trace.states[2]["x"])
    loaded.draws[:] = 0  # arrays of a loaded trace can be written to


@pytest.mark.parametrize("generator", GENERATORS)
def test_generators_go_on_from_a_file(tmp_path, generator):
    source = generator(3)
    np.random.Generator(source).integers(0, 2**31, 5, dtype=np.uint32)  # leaves half of a 64-bit number behind
    trace = make(chains=1, rng_states=[source.state])
    trace.save(tmp_path / "run.npz")
    target = generator(4)
    target.state = Trace.load(tmp_path / "run.npz").rng_states[0]
    a, b = np.random.Generator(source), np.random.Generator(target)
    assert a.integers(0, 2**31, 7, dtype=np.uint32).tobytes() == b.integers(0, 2**31, 7, dtype=np.uint32).tobytes()
    assert a.standard_normal(1000).tobytes() == b.standard_normal(1000).tobytes()


def test_memory_map_is_saved_by_value(tmp_path):
    draws = np.lib.format.open_memmap(tmp_path / "draws.npy", "w+", dtype="f4", shape=(4, 50, 4))
    draws[:] = np.random.default_rng(1).standard_normal(draws.shape)
    trace = dataclasses.replace(make(), draws=draws)
    trace.save(tmp_path / "run.npz")
    copied = pickle.loads(pickle.dumps(trace))
    expected = draws.tobytes()
    draws[:] = 0
    for other in (Trace.load(tmp_path / "run.npz"), copied):
        assert type(other.draws) is np.ndarray and other.draws.tobytes() == expected


def test_parameters_are_saved(tmp_path, space):
    trace = make(parameters=space)
    trace.save(tmp_path / "run.npz")
    loaded = Trace.load(tmp_path / "run.npz")
    same_trace(trace, loaded)
    assert loaded["tau"].tobytes() == trace["tau"].tobytes()


def test_a_trace_without_draws_is_saved(tmp_path):
    trace = make(draws=0)
    trace.save(tmp_path / "run.npz")
    same_trace(trace, Trace.load(tmp_path / "run.npz"))
    assert len(trace) == 0 and trace and trace.diagnose() == [] and trace["x"].shape == (4, 0, 4)


def test_pickle():
    trace = everything()
    assert trace["x"].shape == (5, 7, 4)  # a cache that the pickle leaves out
    same_trace(trace, pickle.loads(pickle.dumps(trace)))


def rewrite(source, target, change):
    """The archive with `change(members)` applied; object arrays allowed, as another program might write them."""
    with np.load(source) as file:
        members = {name: file[name] for name in file.files}
    change(members)
    np.savez(target, **members)


def header(members, old, new):
    members["micropolis"] = np.frombuffer(members["micropolis"].tobytes().replace(old, new), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("draws"), "'draws' is missing"),
        (lambda m: m.pop("micropolis"), "not a saved trace"),
        (lambda m: m.update(draws=np.array([{}], dtype=object)), "'draws' is damaged.*allow_pickle"),
        (lambda m: m.update(draws=m["draws"][:, :3]), "fit together: stats"),
        (lambda m: m.update(draws=m["draws"].astype("i8")), "fit together: draws"),
        (lambda m: m.update(stats=m["stats"][["logp", "status"]]), "dtype"),
        (lambda m: m.update(stats=m["draws"]), "dtype"),
        (lambda m: header(m, b'"version": 1', b'"version": 2'), "version 2, this release reads version 1"),
        (lambda m: header(m, b'"version": 1', b'"volumes": 1'), "'micropolis' is damaged"),
        (lambda m: header(m, b"trace_test", b"trace_tost"), "unknown kernel 'trace_tost'"),
        (lambda m: header(m, b"max_depth", b"min_depth"), "min_depth"),
        (lambda m: header(m, b'"thin"', b'"thon"'), "entries thin, thon"),
        (lambda m: header(m, b'"thin": 1', b'"thin": 0'), "thin"),
        (lambda m: header(m, b"{", b"["), "'micropolis' is damaged"),
    ],
)
def test_changed_files_are_named(tmp_path, change, message):
    make().save(tmp_path / "run.npz")
    rewrite(tmp_path / "run.npz", tmp_path / "changed.npz", change)
    with pytest.raises(TraceFileError, match=rf"changed\.npz: .*{message}"):
        Trace.load(tmp_path / "changed.npz")


def test_loading_imports_no_foreign_module(tmp_path):
    trace = make()
    trace.save(tmp_path / "run.npz")
    del KERNELS["trace_test"]
    with pytest.raises(TraceFileError, match="unknown kernel 'trace_test': import "):
        Trace.load(tmp_path / "run.npz")


def test_loading_imports_the_module_of_our_own_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(TraceTestKernel, "__module__", "micropolis.made_up.kernel")
    trace, imported = make(), []

    def import_module(name):
        imported.append(name)
        KERNELS["trace_test"] = TraceTestKernel

    trace.save(tmp_path / "run.npz")
    del KERNELS["trace_test"]
    monkeypatch.setattr("importlib.import_module", import_module)
    same_trace(trace, Trace.load(tmp_path / "run.npz"))
    assert imported == ["micropolis.made_up.kernel"]


def test_values_that_no_file_can_hold_are_named(tmp_path):
    for changes, where in (
        ({"settings": {"init": lambda: 0}}, "settings/init: a function"),
        ({"recipe": ("A", {"data": np.array([None])})}, "recipe/1/data: an array of Python objects"),
    ):
        with pytest.raises(InputTypeError, match=where):
            make(**changes).save(tmp_path / "run.npz")
    assert os.listdir(tmp_path) == []


def test_a_failed_save_and_a_damaged_file_are_errors_of_ours(tmp_path):
    trace = make()
    with pytest.raises(TraceWriteError, match="no/run.npz: cannot be written: "):
        trace.save(tmp_path / "no" / "run.npz")
    trace.save(tmp_path / "run.npz")
    same_trace(trace, Trace.load(tmp_path / "run.npz"))
    with open(tmp_path / "run.npz", "r+b") as file:
        file.truncate(3000)
    with pytest.raises(TraceFileError, match="run.npz: not a saved trace, or cut off"):
        Trace.load(tmp_path / "run.npz")


# -- names -----------------------------------------------------------------------------------------------------------


def test_coordinates_by_name():
    trace = make(names=("a[0]", "a[1]", "b", "c[3]"))
    assert trace.keys() == ("a", "b", "c[3]") and list(trace) == ["a", "b", "c[3]"]
    np.testing.assert_array_equal(trace["a"], trace.draws[:, :, :2])
    np.testing.assert_array_equal(trace["a[1]"], trace.draws[:, :, 1])
    np.testing.assert_array_equal(trace["c[3]"], trace.draws[:, :, 3])
    assert np.shares_memory(trace["a"], trace.draws)
    assert "b" in trace and "a[2]" not in trace and "b[0]" not in trace and 0 not in trace
    np.testing.assert_array_equal(make()["x"], make().draws)
    # a tensor of a network
    trace = make(names=("w[0,0]", "w[0,1]", "w[1,0]", "w[1,1]"))
    assert trace.keys() == ("w",) and trace["w"].shape == (*trace.draws.shape[:2], 2, 2)
    np.testing.assert_array_equal(trace["w"][:, :, 1, 0], trace.draws[:, :, 2])
    np.testing.assert_array_equal(trace["w[0,1]"], trace.draws[:, :, 1])
    assert np.shares_memory(trace["w"], trace.draws)
    for odd in (("w[0,0]", "w[1,0]", "w[0,1]", "w[1,1]"), ("w[0]", "w[1,0]", "w[2]", "w[999999999]")):
        assert make(names=odd).keys() == odd


def test_parameters_by_name(space):
    trace = make(parameters=space, dtype="f8")
    assert trace.keys() == ("tau", "theta", "chol")
    np.testing.assert_array_equal(trace["tau"], space.scale * np.exp(trace.draws[:, :, 0]))
    assert trace["theta"].shape == (4, 50, 3) and trace["theta"] is not trace.draws
    np.testing.assert_array_equal(trace["chol[1, 0]"], trace.draws[:, :, 2])


@pytest.mark.parametrize("name", ["sigma", "theta[3]", "chol[0]", "tau[0]", 0, None])
def test_unknown_names_list_the_known(space, name):
    with pytest.raises(KeyError, match=r"no such parameter; .*tau, theta\[3\], chol\[2, 2\]$") as caught:
        make(parameters=space)[name]
    assert isinstance(caught.value, MicropolisError) and repr(name) in str(caught.value)


def test_sizes_and_repr():
    trace = everything()
    assert (trace.n_chains, trace.n_draws, trace.dim, len(trace)) == (5, 7, 4, 7)
    assert trace.stats["accept_prob"].shape == (5, 7)
    assert repr(trace) == (
        "<Trace of TraceTestKernel: 5 chains x 7 draws, dim 4, 12 warm-up draws, thin 3, "
        "interrupted, 10 more draws in ragged, 0 divergent>"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": np.zeros((4, 50))}, "draws: .*shape \\(4, 50\\)"),
        ({"draws": [1.0]}, "draws: .*list"),
        ({"stats": np.zeros((4, 49), TraceTestKernel.INFO)}, "stats: .*\\(4, 50\\).*\\(4, 49\\)"),
        ({"warmup_stats": np.zeros((3, 9), TraceTestKernel.INFO)}, "warmup_stats"),
        ({"names": ("a",)}, "names: expected 4 names, got 1"),
        ({"rng_states": []}, "rng_states: expected one per chain \\(4\\), got 0"),
        ({"ragged": [{}]}, "ragged"),
        ({"thin": 0}, "thin"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(make(), **changes)


# -- ArviZ -----------------------------------------------------------------------------------------------------------


def test_summary_is_arviz_own(space):
    arviz = pytest.importorskip("arviz")
    trace = make(parameters=space, draws=200)
    table = trace.summary()
    assert list(table.index) == [
        "tau", "theta[0]", "theta[1]", "theta[2]", "chol[0,0]", "chol[0,1]", "chol[1,0]", "chol[1,1]",
    ]  # fmt: skip
    assert list(table.columns) == ["mean", "sd", "5%", "50%", "95%", "mcse_mean", "ess_bulk", "ess_tail", "r_hat"]
    for name, x in (("tau", trace["tau"]), ("theta[2]", trace.draws[:, :, 3])):
        row = table.loc[name]
        assert row["r_hat"] == float(arviz.rhat(x)) and row["ess_bulk"] == float(arviz.ess(x))
        assert row["ess_tail"] == float(arviz.ess(x, method="tail", prob=(0.05, 0.95)))
        assert row["mcse_mean"] == arviz.mcse(x, method="mean")
        np.testing.assert_allclose(row["mean"], x.mean(), rtol=1e-12)
        assert row["5%"] == np.quantile(x, 0.05) and row["50%"] == np.median(x) and row["sd"] == np.std(x, ddof=1)


def test_summary_is_silent_about_constant_elements(recwarn):
    """A Cholesky factor of correlations has a 1 and a 0 in every draw: they have no R-hat, which is no warning."""
    pytest.importorskip("arviz")
    table = make(dim=1, parameters=ParameterSpace({"chol": CorrelationCholesky(2)})).summary()
    assert np.isnan(table.loc["chol[0,0]", "r_hat"]) and table.loc["chol[1,0]", "r_hat"] < 1.1
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_arviz_data_has_names_and_conventions(space):
    pytest.importorskip("arviz")
    trace = make(parameters=space)
    data = trace.to_arviz()
    posterior, stats = data["posterior"], data["sample_stats"]
    assert posterior["theta"].dims == ("chain", "draw", "theta_dim_0") and posterior["tau"].dims == ("chain", "draw")
    np.testing.assert_array_equal(posterior["theta"].values, trace["theta"])
    np.testing.assert_array_equal(posterior["chol"].sel(chol_dim_0=1, chol_dim_1=0).values, trace["chol[1,0]"])
    theirs = {"divergent": "diverging", "logp": "lp", "depth": "tree_depth"}
    theirs |= {"n_grad": "n_steps", "accept_prob": "acceptance_rate"}
    for ours in (*theirs, "energy", "step_size"):
        np.testing.assert_array_equal(stats[theirs.get(ours, ours)].values, trace.stats[ours])
    np.testing.assert_array_equal(data["warmup_sample_stats"]["lp"].values, trace.warmup_stats["logp"])
    assert stats["diverging"].dtype == bool
    without = make(warmup_stats=np.zeros((4, 0), TraceTestKernel.INFO)).to_arviz()
    groups = without.groups() if callable(without.groups) else [group.lstrip("/") for group in without.groups]
    assert "warmup_sample_stats" not in groups and "posterior" in groups


def test_arviz_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    for method in (make().summary, make().to_arviz):
        with pytest.raises(MissingExtraError, match=r"pip install 'micropolis\[arviz\]'"):
            method()


def test_diagnose_names_the_coordinate():
    trace = make(draws=1000)
    assert trace.diagnose() == []
    trace.draws[1, :, 2] += 2
    assert "at x[2]" in trace.diagnose()[0]
