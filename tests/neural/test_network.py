"""Sequential: parameters and their views, initial weights, copies, pickles and files, faults of input."""

import copy
import pickle

import numpy as np
import pytest

import micropolis as mp
from micropolis import trace_files
from micropolis.errors import InputError, InputTypeError, MicropolisError
from micropolis.neural import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Tanh


def small(**options):
    return Sequential(Linear(2, 10), ReLU(), Linear(10, 2), **options)


def assign(parameters):
    small().parameters = parameters


def test_the_call_of_the_interface():
    net = mp.neural.Sequential(
        mp.neural.Linear(2, 10), mp.neural.ReLU(), mp.neural.Linear(10, 2), seed=0, dtype="float64"
    )
    assert net.n_parameters == 52
    assert net.parameters.shape == (52,)
    assert net.input_shape == (2,)
    assert net.output_shape == (2,)
    assert net(np.zeros((3, 2))).shape == (3, 2)
    assert "Linear(in_features=2, out_features=10" in repr(net)


def test_views_share_the_flat_vector():
    net = small()
    views = net.named_parameters()
    assert {name: view.shape for name, view in views.items()} == {
        "0.weight": (10, 2), "0.bias": (10,), "2.weight": (2, 10), "2.bias": (2,)
    }  # fmt: skip
    views["2.weight"][1, 3] = 77.0
    assert net.parameters[20 + 10 + 13] == 77.0
    flat = net.parameters
    net.parameters = np.arange(52)
    assert net.parameters is flat
    np.testing.assert_array_equal(views["2.bias"], [50, 51])


def test_initial_weights():
    """N(0, 1) / sqrt(fan_in): the mean square of n of them is 1 / fan_in within 5 sqrt(2 / n)."""
    net = Sequential(Linear(400, 100), Linear(100, 50), seed=1)
    for name, fan_in in (("0.weight", 400), ("0.bias", 400), ("1.weight", 100), ("1.bias", 100)):
        view = net.named_parameters()[name]
        assert np.mean(view**2) * fan_in == pytest.approx(1, abs=5 * np.sqrt(2 / view.size))
    np.testing.assert_array_equal(small(seed=4).parameters, small(seed=4).parameters)
    assert np.all(small(seed=4).parameters != small(seed=5).parameters)
    np.testing.assert_array_equal(small(dtype="float32").parameters, small().parameters.astype(np.float32))
    assert np.all(small(seed=None).parameters != small(seed=None).parameters)


def test_copies_have_parameters_of_their_own():
    net = small()
    X = np.ones((1, 2))
    before = net(X)
    for other in (net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other(X), before)
        other.parameters[:] = 0
        assert np.all(other(X) == 0)
        np.testing.assert_array_equal(net(X), before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files(tmp_path, dtype):
    net = Sequential(Linear(3, 4, bias=False), Tanh(), Linear(4, 2), seed=9, dtype=dtype)
    net.save(tmp_path / "net.npz")
    back = Sequential.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(back.parameters, net.parameters)
    assert (back.dtype, back.layers, back.input_shape, back.engine) == (net.dtype, net.layers, (3,), "auto")
    images = Sequential(Conv2d(1, 2, 3), MaxPool2d(2), Flatten(), Linear(18, 3), input_shape=(1, 8, 8))
    images.save(tmp_path / "images.npz")
    back = Sequential.load(tmp_path / "images.npz")
    assert back.layers == images.layers
    assert back.output_shape == (3,)
    np.testing.assert_array_equal(back.parameters, images.parameters)


def test_bad_files(tmp_path):
    path = tmp_path / "net.npz"
    with pytest.raises(InputError, match="not a saved network: .*cannot be read"):
        Sequential.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a saved network"):
        Sequential.load(path)
    np.savez(path, parameters=np.zeros(3))
    with pytest.raises(InputError, match="not a saved network"):
        Sequential.load(path)
    trace_files.write(path, {"draws": np.zeros(3)})
    with pytest.raises(InputError, match="another file of micropolis"):
        Sequential.load(path)
    for wrong in (
        {"layers": [{"name": "Conv9d"}]},
        {"layers": [{"name": "Linear", "in_features": 2}]},
        {"parameters": np.zeros(3)},
        {"parameters": np.full(52, np.nan)},
        {"layers": 3},
    ):
        small().save(path)
        trace_files.write(path, {**trace_files.read(path), **wrong})
        with pytest.raises(InputError, match="not a saved network"):
            Sequential.load(path)


def test_a_file_cut_or_changed_anywhere_is_an_error_or_the_same_network(tmp_path):
    path = tmp_path / "net.npz"
    net = small()
    net.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(whole), 20):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            Sequential.load(path)
    for position in rng.integers(0, len(whole), 60):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        try:
            back = Sequential.load(path)
        except MicropolisError:
            continue
        np.testing.assert_array_equal(back.parameters, net.parameters)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Sequential(), InputError, "at least one with parameters"),
        (lambda: Sequential(ReLU()), InputError, "at least one with parameters"),
        (lambda: Sequential(Linear(10**6, 10**9)), InputError, "layers: no memory for 1000001000000000 parameters"),
        (lambda: Sequential(Linear(2, 3), "ReLU"), InputTypeError, "number 1 is 'ReLU'"),
        (
            lambda: Sequential(Linear(2, 3), ReLU(), Linear(4, 2)),
            InputError,
            r"number 2 does not follow from number 1, ReLU\(\), with output of shape \(3,\): Linear\(in_features=4.*"
            r"expected input of shape \(4,\), got \(3,\)",
        ),
        (
            lambda: Sequential(Conv2d(1, 2, 3), Linear(72, 2), input_shape=(1, 8, 8)),
            InputError,
            r"number 1 does not follow from number 0, Conv2d.*\(2, 6, 6\): Linear.*expected .*\(72,\), got \(2, 6, 6\)",
        ),
        (lambda: Sequential(Linear(2, 3), input_shape=(4,)), InputError, r"input_shape \(4,\)"),
        (lambda: Sequential(Linear(2, 3), input_shape=(2, 2)), InputTypeError, "input_shape: expected"),
        (lambda: small(dtype="float16"), InputTypeError, "dtype: expected 'float32' or 'float64', got 'float16'"),
        (lambda: small(dtype="rubbish"), InputTypeError, "dtype: expected"),
        (lambda: small(engine="gpu"), InputError, "engine: expected one of 'auto', 'tiles', 'blas', got 'gpu'"),
        (lambda: small(seed="x"), InputTypeError, "seed: expected"),
        (lambda: small(seed=-1), InputTypeError, "seed: expected"),
        (
            lambda: Sequential(Conv2d(1, 1, 2), input_shape=(1, 4, 4), engine="tiles")(np.zeros((1, 1, 4, 4))),
            InputError,
            "engine: expected 'blas' or 'auto' for Conv2d",
        ),
        (lambda: Sequential(Conv2d(1, 1, 2)).bind(), InputError, "input_shape: expected"),
        (lambda: assign(np.zeros(3)), InputError, r"parameters: expected shape \(52,\), got \(3,\)"),
        (lambda: assign([np.nan] * 52), InputError, "parameters: expected finite .* at index 0"),
        (lambda: small().bind((3,)), InputError, r"input_shape: expected \(2,\), got \(3,\)"),
    ],
)  # fmt: skip
def test_faults(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_faults_of_rows():
    net, X, y = small(), np.zeros((4, 2)), np.zeros(4, dtype=int)
    with pytest.raises(InputError, match=r"X: expected shape \(n, 2\), got \(4, 3\)"):
        net(np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"X: expected shape \(n, 2\), got \(2,\)"):
        net(np.zeros(2))
    with pytest.raises(InputTypeError, match="X: expected an array of real numbers, got dtype complex128"):
        net(X + 1j)
    with pytest.raises(InputTypeError, match="X: expected an array of real numbers"):
        net([["a", "b"]])
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(InputError, match=r"X: expected finite numbers of float64, got nan at index \(3, 1\)"):
        net.losses(bad, y)
    with pytest.raises(InputError, match=r"X: expected finite numbers of float32, got 1e\+300 at index \(0, 0\)"):
        small(dtype="float32")(X + 1e300)
    with pytest.raises(InputError, match=r"y: expected shape \(4,\), one label for each row of X, got \(3,\)"):
        net.losses(X, y[:3])
    with pytest.raises(InputError, match=r"y: expected integer labels in 0\.\.1.*, got 2 at index 1"):
        net.value_and_grad(X, [0, 2, 1, 0])
    with pytest.raises(InputError, match="loss: expected one of 'multiclass', .*, got 'hinge'"):
        net.losses(X, y, "hinge")
    with pytest.raises(InputTypeError, match="loss: expected one of .* or a function, got int"):
        net.losses(X, y, 3)
    with pytest.raises(InputError, match=r"vector: expected shape \(52,\), got \(2,\)"):
        net.hvp(X, y, [1.0, 2.0])
    with pytest.raises(InputError, match="scale: expected a finite number > 0, got -1"):
        net.losses(X, np.zeros((4, 2)), "regression", scale=-1)


def test_rows_of_every_layout():
    """Any strides, byte order and dtype give what contiguous rows give; a memory map stays in place."""
    net = small(seed=2)
    X = np.random.default_rng(0).normal(size=(9, 2))
    truth = net(X)
    for same in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.astype(">f8"), X[::-1][::-1], X.tolist()):
        np.testing.assert_array_equal(net(same), truth)
    unaligned = np.frombuffer(b"x" + X.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(9, 2)
    np.testing.assert_array_equal(net(unaligned), truth)
    integers = np.arange(18).reshape(9, 2)
    np.testing.assert_array_equal(net(integers), net(integers.astype(float)))


def test_a_memory_map_stays_in_place(tmp_path):
    X = np.random.default_rng(0).normal(size=(9, 2))
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    net = small()
    data = net.data(mapped, np.zeros(9, dtype=int), pack=False)
    assert np.shares_memory(data.inputs, mapped)
    np.testing.assert_array_equal(net.bind().forward(net.parameters, data), net(X))


def test_shapes_that_only_data_tell():
    net = Sequential(Conv2d(1, 2, 3), ReLU(), Flatten(), Linear(72, 2))
    assert net.input_shape is net.output_shape is None
    assert net.reference(np.zeros((2, 1, 8, 8))).shape == (2, 2)
    assert net.input_shape == (1, 8, 8)
    assert net.output_shape == (2,)
    with pytest.raises(InputError, match=r"X: expected shape \(n, 1, 8, 8\) or \(n, 64\), got \(2, 1, 9, 9\)"):
        net.reference(np.zeros((2, 1, 9, 9)))
    assert net.reference(np.zeros((2, 64))).shape == (2, 2)


@pytest.mark.parametrize("call", ["losses", "value_and_grad", "hvp"])
def test_a_loss_wants_answers(call):
    net = Sequential(Linear(2, 2))
    vector = [np.zeros(6)] if call == "hvp" else []
    with pytest.raises(InputTypeError, match="y: expected the labels or targets of the rows of X, got None"):
        getattr(net, call)([[0.0, 1.0]], None, *vector)


def test_the_reference_takes_no_rows():
    net = Sequential(Conv2d(1, 2, 3), MaxPool2d(2), Flatten(), Linear(8, 3), input_shape=(1, 6, 6))
    assert net.reference(np.zeros((0, 1, 6, 6))).shape == net(np.zeros((0, 1, 6, 6))).shape == (0, 3)


def test_rows_that_are_refused_settle_no_shape():
    net = Sequential(Conv2d(1, 2, 3), ReLU(), Flatten())
    for wrong in (np.full((3, 1, 9, 9), np.nan), np.zeros((3, 2, 9, 9))):
        with pytest.raises(InputError):
            net(wrong)
    assert net.input_shape is None
    assert net(np.zeros((3, 1, 5, 5))).shape == (3, 18)


def test_a_shallow_copy_has_its_own_parameters():
    net = small(seed=0)
    other = copy.copy(net)
    other.parameters[:] = 0
    assert not np.shares_memory(net.parameters, other.parameters)
    assert np.all(net.parameters[:20] != 0)
