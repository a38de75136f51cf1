"""Trace: names, files to the bit, damage, full disks, ArviZ's own numbers, diagnoses."""

from __future__ import annotations

import dataclasses
import errno
import os
import pickle
import resource
import sys
import types
import warnings

import numpy as np
import pytest

from micropolis import diagnostics, trace_files
from micropolis.errors import InputError, InputTypeError, MicropolisError, MissingExtraError, TraceFileError, TraceWriteError
from micropolis.protocol import KERNELS, Kernel, info_dtype, options_as_dict
from micropolis.trace import Trace

GENERATORS = [np.random.SFC64, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.MT19937]


@dataclasses.dataclass(frozen=True)
class TraceTestKernel(Kernel):
    step_size: float | None = None
    max_depth: int = 10
    metric: str = "diag"
    jitter: bool = False
    target_accept: float = 0.8
    inverse_mass: np.ndarray | None = None

    name = "trace_test"
    module = "none"
    # ends in padding, as a C record does
    INFO = info_dtype(("energy", "f8"), ("step_size", "f8"), ("depth", "i4"))


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
    """A trace that uses every field, with the values that are hard to keep: NaN, -0.0, 128-bit integers, empty arrays."""
    draws = np.random.default_rng(5).standard_normal((5, 7, 4))
    draws[0, 0] = [np.nan, -0.0, 5e-324, np.inf]
    return make(
        chains=5,
        draws=7,
        **{"draws": draws} if False else {},
        thin=3,
        recipe=("Gaussian", {"mean": np.arange(4.0), "std": 0.1 + 0.2}),
        ragged=[{"draws": draws[c, :c], "stats": np.zeros(c, TraceTestKernel.INFO)} for c in range(5)],
        warmup_done=12,
        seconds=(0.25, 1 / 3),
        settings={"backend": "c", "threads": None, "draws": 1000, "big": 2**127 + 1, "x": [1, (2.5, "é")], "f": np.float32(0.1)},
        adaptation=[None, {}, {"mean": draws[0, 0], "count": np.int64(3)}, None, {"window": np.zeros((0, 4))}],
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
    assert os.listdir(tmp_path) == ["run.npz"]
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
    trace = make(draws=draws)
    trace.save(tmp_path / "run.npz")
    copied = pickle.loads(pickle.dumps(trace))
    expected = draws.tobytes()
    draws[:] = 0
    for other in (Trace.load(tmp_path / "run.npz"), copied):
        assert type(other.draws) is np.ndarray and other.draws.tobytes() == expected


def test_numpy_reads_the_arrays(tmp_path):
    trace = make()
    trace.save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        assert file["draws"].tobytes() == trace.draws.tobytes()
        assert file["states/2/x"].tobytes() == trace.states[2]["x"].tobytes()
        assert all(not file[name].dtype.hasobject for name in file.files)


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


def test_cut_off_files_are_named(tmp_path):
    make(draws=9).save(tmp_path / "run.npz")
    content = (tmp_path / "run.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    for length in [*range(0, len(content), 97), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(TraceFileError, match=r"cut\.npz: "):
            Trace.load(cut)


def test_flipped_bits_are_found_or_harmless(tmp_path):
    trace = make(chains=2, draws=5)
    trace.save(tmp_path / "run.npz")
    content = (tmp_path / "run.npz").read_bytes()
    rng, flipped, found = np.random.default_rng(0), tmp_path / "flipped.npz", 0
    for position in rng.integers(0, len(content), 400):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        flipped.write_bytes(damaged)
        try:
            same_trace(trace, Trace.load(flipped))
        except TraceFileError as error:
            assert "flipped.npz" in str(error)
            found += 1
    assert found > 200  # most of the file is data under a checksum


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


def test_foreign_files_are_named(tmp_path):
    (tmp_path / "text.npz").write_text("mean,sd\n1,2\n")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"draws": 1}))
    np.savez(tmp_path / "objects.npz", micropolis=np.array([{}], dtype=object))
    (tmp_path / "folder.npz").mkdir()
    for name in ("text.npz", "other.npz", "array.npy", "pickle.npz", "objects.npz", "folder.npz", "nothing.npz"):
        with pytest.raises(TraceFileError, match=name):
            Trace.load(tmp_path / name)
    with pytest.raises(InputTypeError, match="path"):
        Trace.load(3)


def test_loading_imports_no_foreign_module(tmp_path):
    trace = make()
    trace.save(tmp_path / "run.npz")
    del KERNELS["trace_test"]
    with pytest.raises(TraceFileError, match="unknown kernel 'trace_test': import "):
        Trace.load(tmp_path / "run.npz")
    KERNELS["trace_test"] = TraceTestKernel


def test_values_that_no_file_can_hold_are_named(tmp_path):
    for changes, where in (
        ({"settings": {"init": lambda: 0}}, "settings/init: a function"),
        ({"recipe": ("A", {"data": np.array([None])})}, "recipe/1/data: an array of Python objects"),
    ):
        with pytest.raises(InputTypeError, match=where):
            make(**changes).save(tmp_path / "run.npz")
    assert os.listdir(tmp_path) == []


# -- failing disks ---------------------------------------------------------------------------------------------------


def test_unwritable_paths(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run.npz", tmp_path / "no" / "run.npz", tmp_path, "/dev/null"):
        with pytest.raises(TraceWriteError, match=f"{path}: cannot be written: ") as caught:
            make().save(path)
        assert isinstance(caught.value, MicropolisError) and isinstance(caught.value, OSError)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_leaves_the_old_file_and_the_trace(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    make(seed=1).save(path)
    before, trace = path.read_bytes(), make(seed=2, draws=5000)

    def full(target):
        temporary = target + ".tmp"
        open(temporary, "xb").close()
        return temporary, open("/dev/full", "wb")

    monkeypatch.setattr(trace_files, "_temporary", full)
    with pytest.raises(TraceWriteError, match=f"run.npz.*{os.strerror(errno.ENOSPC)}"):
        trace.save(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["run.npz"] and path.read_bytes() == before
    monkeypatch.setitem(KERNELS, "trace_test", TraceTestKernel)
    trace.save(path)
    same_trace(trace, Trace.load(path))


@pytest.mark.parametrize("room", [0, 100, 5_000, 100_000])
def test_writes_that_stop_anywhere_leave_the_old_file(tmp_path, room):
    path, trace = tmp_path / "run.npz", make(seed=2, draws=5000)
    make(seed=1).save(path)
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(TraceWriteError, match=os.strerror(errno.EFBIG)):
            trace.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["run.npz"] and path.read_bytes() == before


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    make(seed=1).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make(seed=2).save(path)
    assert os.listdir(tmp_path) == ["run.npz"] and path.read_bytes() == before


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link.npz").symlink_to(tmp_path / "run.npz")
    make().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink() and (tmp_path / "run.npz").is_file()


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
        "<Trace of TraceTestKernel: 5 chains x 7 draws, dim 4, 12 warm-up draws, every 3rd step, "
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
        make(**changes)


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
        assert row["mcse_mean"] == float(arviz.mcse(x, method="mean"))
        np.testing.assert_allclose(row["mean"], x.mean(), rtol=1e-12)
        assert row["5%"] == np.quantile(x, 0.05) and row["50%"] == np.median(x) and row["sd"] == np.std(x, ddof=1)


def test_arviz_data_has_names_and_conventions(space):
    pytest.importorskip("arviz")
    trace = make(parameters=space)
    data = trace.to_arviz()
    posterior, stats = data["posterior"], data["sample_stats"]
    assert posterior["theta"].dims == ("chain", "draw", "theta_dim_0") and posterior["tau"].dims == ("chain", "draw")
    np.testing.assert_array_equal(posterior["theta"].values, trace["theta"])
    np.testing.assert_array_equal(posterior["chol"].sel(chol_dim_0=1, chol_dim_1=0).values, trace["chol[1,0]"])
    for ours, theirs in (
        ("divergent", "diverging"), ("logp", "lp"), ("energy", "energy"), ("depth", "tree_depth"), ("n_grad", "n_steps"),
        ("step_size", "step_size"), ("accept_prob", "acceptance_rate"),
    ):  # fmt: skip
        np.testing.assert_array_equal(stats[theirs].values, trace.stats[ours])
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


# -- diagnoses -------------------------------------------------------------------------------------------------------


def test_split_r_hat_of_known_arrays():
    # halves (0, 2), (0, 2), (1, 3), (1, 3): W = 2, variance of the means 0, 0 ... 1/3, so R = sqrt(1/2 + (1/3)/2)
    x = np.array([[0.0, 2.0, 0.0, 2.0], [1.0, 3.0, 1.0, 3.0]])
    assert diagnostics.split_r_hat(x) == pytest.approx(np.sqrt(2 / 3), rel=1e-14)
    # an odd number of draws: the middle one is left out
    assert diagnostics.split_r_hat(np.insert(x, 2, 1e9, axis=1)) == pytest.approx(np.sqrt(2 / 3), rel=1e-14)
    stands = np.repeat([[0.0], [1.0]], 8, axis=1)
    assert diagnostics.split_r_hat(stands) == np.inf and np.isnan(diagnostics.split_r_hat(stands * 0))


def test_split_r_hat_is_arviz_split():
    arviz = pytest.importorskip("arviz")
    draws = make(draws=101, seed=3).draws.cumsum(axis=1)[:, 1:]
    expected = [float(arviz.rhat(draws[:, :, i], method="split")) for i in range(4)]
    np.testing.assert_allclose(diagnostics.split_r_hat(draws), expected, rtol=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_batch_ess_of_an_autoregression(correlation):
    # AR(1): ESS = N (1 - r) / (1 + r). Batches of b = 100: relative bias 2 r / (b (1 - r^2)) < 2 %, sd
    # sqrt(2 / 400) = 7 % by the chi-square of 4 x 100 batches; 4 sd and the bias: 30 %.
    rng, n = np.random.default_rng(2), 10_000
    x = rng.standard_normal((4, n, 3))
    x[:, 0] /= np.sqrt(1 - correlation**2)
    for t in range(1, n):
        x[:, t] += correlation * x[:, t - 1]
    expected = 4 * n * (1 - correlation) / (1 + correlation)
    np.testing.assert_allclose(diagnostics.batch_ess(x), expected, rtol=0.30)


def test_a_good_run_has_no_warnings_and_memory_is_bounded(monkeypatch):
    trace = make(draws=1000)
    assert trace.diagnose() == []
    whole = diagnostics._by_coordinate(trace.draws)
    monkeypatch.setattr(diagnostics, "BLOCK", 1)  # one coordinate at a time
    same(whole, diagnostics._by_coordinate(trace.draws))


def test_each_trouble_is_one_sentence():
    def only(trace, *words):
        (sentence,) = trace.diagnose()
        assert all(word in sentence for word in words), sentence
        assert sentence.endswith(".") and "\n" not in sentence

    trace = make(draws=1000)
    trace.stats["divergent"][1, :8] = True
    only(trace, "8 of 4000 draws (0.2 %) diverged", "target_accept")

    trace = make(draws=1000)
    trace.draws[2, :, 1] += 0.5
    trace.draws[3, :, 3] += 0.9
    r_hat, ess = trace.diagnose()
    assert "R-hat is above 1.01 for 2 of 4 coordinates" in r_hat and "at x[3]" in r_hat
    assert "effective sample size is low" in ess and "at x[3]" in ess

    trace = make(draws=1000)
    trace.stats["depth"][0, :40] = 10
    only(trace, "40 of 4000 draws (1 %)", "max_depth")

    trace = make(draws=1000)
    trace.stats["energy"][1] = np.linspace(0, 1, 1000)
    only(trace, "E-BFMI is below 0.3 in chain 1 (")

    trace = make(draws=1000)
    trace.stats["accepted"][[0, 2]] = False
    only(trace, "Chains 0, 2 never moved")


def test_records_without_optional_fields_are_diagnosed():
    class Plain(Kernel):
        name, INFO = "trace_test_plain", info_dtype()

    trace = make(draws=1000)
    stats = np.zeros(trace.stats.shape, Plain.INFO)
    stats["accepted"] = True
    stats["divergent"][0, 0] = True
    (sentence,) = make(draws=1000, stats=stats, kernels=(Plain(),) * 4).diagnose()
    assert "1 of 4000 draws" in sentence and "target_accept" not in sentence


def test_diagnosing_constant_draws_is_silent_about_them():
    trace = make(draws=1000)
    trace.draws[:, :, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trace.diagnose() == []
