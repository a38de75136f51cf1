"""The compiled engines against the NumPy references: outputs, losses, gradients, Hessian products, early exit."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from micropolis.errors import InputError, InputTypeError
from micropolis.neural import SELU, Flatten, Linear, ReLU, Sequential, Sigmoid, Tanh
from micropolis.neural.losses import NAMES, as_loss, reference

ENGINES = ["tiles", "blas"]
ACTIVATIONS = [ReLU, Tanh, SELU, Sigmoid]
# rounding: sums of at most 30 terms of size below 10, through three layers that do not amplify it much
TOLERANCE = {"float64": 1e-13, "float32": 5e-5}
DTYPES = list(TOLERANCE)
ROWS = [1, 7, 63, 64, 65, 130]
WIDTHS_OF = [(loss, n) for loss in NAMES for n in (1, 2, 3, 10) if loss != "multiclass" or n > 1]

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def network(engine, activation=Tanh, dtype="float64", widths=(3, 7, 13, 3)):
    a, b, c, d = widths
    layers = [Linear(a, b), activation(), Linear(b, c, bias=False), Flatten(), activation(), Linear(c, d)]
    return Sequential(*layers, seed=3, dtype=dtype, engine=engine)


def rows(net, loss, n, seed=1):
    """X and what the loss compares with."""
    rng = np.random.default_rng(seed)
    k = net.output_shape[0]
    y = {
        "multiclass": rng.integers(0, k, n),
        "binary": rng.integers(0, 2, (n, k)),
        "regression": rng.normal(size=(n, k)),
        "poisson": rng.poisson(2.0, (n, k)),
    }
    return rng.normal(size=(n, *net.input_shape)), y[loss]


def bound(net, loss, n, scale=1.0, **options):
    X, y = rows(net, loss, n)
    return net.bind(), as_loss(loss, scale), net.data(X, y, loss, **options)


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs(engine, activation, dtype, n):
    net = network(engine, activation, dtype)
    X, _ = rows(net, "multiclass", n)
    assert net(X).dtype == dtype
    np.testing.assert_allclose(net(X), net.reference(X), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("widths", [(1, 1, 1, 1), (2, 10, 10, 2), (5, 6, 11, 12), (17, 18, 19, 23), (33, 9, 8, 4)])
def test_every_width_of_a_block(engine, widths):
    net = network(engine, ReLU, widths=widths)
    X, y = rows(net, "regression", 70)
    np.testing.assert_allclose(net(X), net.reference(X), rtol=1e-12, atol=1e-12)
    check_gradient(net, X, y, "regression")


def test_activations_first_and_in_a_row(engine):
    net = Sequential(Tanh(), Sigmoid(), Linear(3, 4), SELU(), Tanh(), Linear(4, 2), Sigmoid(), engine=engine)
    X, y = rows(net, "multiclass", 9)
    np.testing.assert_allclose(net(X), net.reference(X), rtol=1e-14)
    check_gradient(net, X, y, "multiclass")
    check_hvp(net, X, y, "multiclass")


@pytest.mark.parametrize(("loss", "n_outputs"), WIDTHS_OF)
@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(engine, loss, dtype, n_outputs):
    net = network(engine, Tanh, dtype, (3, 5, 5, n_outputs))
    net.parameters = 3 * net.parameters
    X, y = rows(net, loss, 131)
    truth, _ = reference(loss, net(X).astype(np.float64), y, scale=2.5)
    got = net.losses(X, y, loss, scale=2.5)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, truth, rtol=0.1 * TOLERANCE[dtype] * n_outputs, atol=TOLERANCE[dtype])


def check_gradient(net, X, y, loss, **options):
    """Against central differences: error of order step^2 and rounding / step."""
    _, gradient = net.value_and_grad(X, y, loss, **options)
    start, step = net.parameters.copy(), 1e-5
    differences = []
    for i in range(net.n_parameters):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[i] += sign * step
            net.parameters = moved
            values.append(net.losses(X, y, loss, **options).sum())
        differences.append((values[0] - values[1]) / (2 * step))
    net.parameters = start
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7 * len(X))


def check_hvp(net, X, y, loss, **options):
    vector = np.random.default_rng(2).normal(size=net.n_parameters)
    start, step = net.parameters.copy(), 1e-6
    gradients = []
    for sign in (1, -1):
        net.parameters = start + sign * step * vector
        gradients.append(net.value_and_grad(X, y, loss, **options)[1])
    net.parameters = start
    truth = (gradients[0] - gradients[1]) / (2 * step)
    np.testing.assert_allclose(
        net.hvp(X, y, vector, loss, **options), truth, rtol=1e-6, atol=1e-7 * np.max(np.abs(truth))
    )


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_and_hessian_product(engine, activation, loss):
    net = network(engine, activation)
    X, y = rows(net, loss, 67)
    check_gradient(net, X, y, loss, scale=1.7)
    check_hvp(net, X, y, loss, scale=1.7)


@pytest.mark.parametrize("loss", NAMES)
def test_two_classes_and_one_output(engine, loss):
    for n_outputs in (1, 2) if loss != "multiclass" else (2,):
        net = network(engine, Tanh, widths=(2, 3, 4, n_outputs))
        X, y = rows(net, loss, 20)
        check_gradient(net, X, y, loss)
        check_hvp(net, X, y, loss)


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("n", ROWS)
def test_float32_follows_float64(engine, n, loss):
    single, double = network(engine, Tanh, "float32"), network(engine, Tanh)
    double.parameters = single.parameters
    X, y = rows(double, loss, n)
    X = X.astype(np.float32)
    vector = np.random.default_rng(2).normal(size=double.n_parameters).astype(np.float32)
    results = [(*net.value_and_grad(X, y, loss), net.hvp(X, y, vector, loss)) for net in (single, double)]
    for got, truth in zip(*results, strict=True):
        np.testing.assert_allclose(got, truth, rtol=1e-5, atol=1e-5 * np.max(np.abs(truth)))


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_packing_give_the_same_bits(engine, dtype, n):
    net = network(engine, ReLU, dtype)
    compiled, loss, packed = bound(net, "multiclass", n)
    _, _, plain = bound(net, "multiclass", n, pack=False)
    theta, every, vector = net.parameters, np.arange(n), net.parameters[::-1].copy()
    for function, arguments in [
        (compiled.forward, (theta,)),
        (compiled.losses, (loss, theta)),
        (compiled.loss_sum, (loss, theta)),
        (compiled.loss_grad, (loss, theta)),
        (compiled.loss_hvp, (loss, theta, vector)),
    ]:
        truth = function(*arguments, packed)
        for got in (function(*arguments, plain), function(*arguments, packed, every)):
            for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (got, truth)], strict=True):
                np.testing.assert_array_equal(a, b)


def test_rows_in_any_order_and_twice(engine):
    net = network(engine)
    compiled, loss, data = bound(net, "multiclass", 200)
    chosen = np.random.default_rng(5).integers(0, 200, 77)
    every, theta = np.arange(200), net.parameters
    np.testing.assert_array_equal(compiled.forward(theta, data, chosen), compiled.forward(theta, data, every)[chosen])
    losses = compiled.losses(loss, theta, data)
    np.testing.assert_array_equal(compiled.losses(loss, theta, data, chosen), losses[chosen])
    total, looked = compiled.loss_sum(loss, theta, data, chosen)
    assert looked == 77
    assert total == pytest.approx(losses[chosen].sum(), rel=1e-13)
    gradient = sum(compiled.loss_grad(loss, theta, data, np.array([row]))[1] for row in chosen)
    np.testing.assert_allclose(compiled.loss_grad(loss, theta, data, chosen)[1], gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("loss", ["multiclass", "binary", "poisson"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_early_exit(engine, dtype, loss):
    """It stops where the full pass passes the threshold, with the bits of a pass that ends there."""
    net = network(engine, ReLU, dtype)
    compiled, compiled_loss, data = bound(net, loss, 500)
    theta = net.parameters
    full, looked = compiled.loss_sum(compiled_loss, theta, data)
    assert looked == 500
    assert compiled.loss_grad(compiled_loss, theta, data)[0] == full
    for fraction in (-1.0, 0.0, 0.01, 0.3, 0.77, 0.999):
        total, looked = compiled.loss_sum(compiled_loss, theta, data, threshold=fraction * full)
        assert total >= fraction * full
        assert (total, looked) == compiled.loss_sum(compiled_loss, theta, data, np.arange(looked))
        shorter = (looked - 1) // 64 * 64 if engine == "tiles" else 0
        if shorter:
            assert compiled.loss_sum(compiled_loss, theta, data, np.arange(shorter))[0] < fraction * full
    assert compiled.loss_sum(compiled_loss, theta, data, threshold=full) == (full, 500)
    assert compiled.loss_sum(compiled_loss, theta, data, threshold=np.nextafter(full, np.inf)) == (full, 500)


def test_a_nan_stops_at_a_threshold_alone(engine):
    net = network(engine, ReLU)
    compiled, loss, data = bound(net, "multiclass", 300)
    theta = np.full(net.n_parameters, np.nan)
    total, looked = compiled.loss_sum(loss, theta, data, threshold=1e300)
    assert np.isnan(total)
    assert looked < 300
    total, looked = compiled.loss_sum(loss, theta, data)
    assert np.isnan(total)
    assert looked == 300
    assert np.all(np.isnan(compiled.losses(loss, theta, data)))


@pytest.mark.parametrize("n_outputs", [2, 3])
@pytest.mark.parametrize("loss", ["multiclass", "binary"])
def test_float32_overflow_gives_no_number(engine, loss, n_outputs):
    """Outputs beyond float32 are infinite or NaN: the loss must not come out small."""
    net = Sequential(Linear(1, n_outputs), dtype="float32", engine=engine)
    data = np.array([[3.0]]), (np.array([0]) if loss == "multiclass" else np.ones((1, n_outputs)))
    for value in (3e38, -3e38):
        net.parameters = [value] + [0.0] * (2 * n_outputs - 1)
        got = net.losses(*data, loss)[0]
        assert np.isnan(got) or got == np.inf
    for value in (80.0, -80.0):
        net.parameters = [value / 3] + [0.0] * (2 * n_outputs - 1)
        assert np.isfinite(net.losses(*data, loss)[0])


def test_large_outputs_keep_their_digits(engine):
    """log(1 + exp(1000)) is 1000, and exp(-700) does not vanish."""
    net = Sequential(Linear(1, 2, bias=False), engine=engine)
    net.parameters = [1.0, 0.0]
    X = np.array([[1000.0], [-1000.0], [700.0], [0.0]])
    np.testing.assert_allclose(net.losses(X, [1, 0, 0, 0]), [1000.0, 1000.0, np.exp(-700.0), np.log(2)], rtol=1e-15)
    single = Sequential(Linear(1, 1, bias=False), engine=engine)
    single.parameters = [1.0]
    truth = [0.0, 1000.0, np.exp(-700.0), np.log(2)]
    np.testing.assert_allclose(single.losses(X, [1, 1, 1, 0], "binary"), truth, rtol=1e-15, atol=1e-307)


def test_no_rows(engine):
    net = network(engine)
    compiled, loss, data = bound(net, "multiclass", 5)
    none = np.empty(0, dtype=np.int64)
    assert compiled.forward(net.parameters, data, none).shape == (0, 3)
    assert compiled.loss_sum(loss, net.parameters, data, none) == (0.0, 0)
    total, gradient = compiled.loss_grad(loss, net.parameters, data, none)
    assert total == 0
    assert not np.any(gradient)


def test_threads_share_network_and_data(engine):
    net = network(engine)
    compiled, loss, data = bound(net, "multiclass", 300)
    points = np.random.default_rng(0).normal(size=(32, net.n_parameters))
    alone = [compiled.loss_grad(loss, theta, data)[0] for theta in points]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda theta: compiled.loss_grad(loss, theta, data)[0], points)) == alone


def test_what_would_read_beyond_memory_is_refused(engine):
    net = network(engine)
    compiled, loss, data = bound(net, "multiclass", 5)
    theta = net.parameters
    with pytest.raises(InputError, match=r"theta: expected shape \(\d+,\), got \(3,\)"):
        compiled.forward(theta[:3].copy(), data)
    with pytest.raises(InputTypeError, match="theta: expected a C-contiguous array of float64, got float32"):
        compiled.forward(theta.astype(np.float32), data)
    with pytest.raises(InputTypeError, match="theta: expected a C-contiguous"):
        compiled.forward(np.repeat(theta, 2)[::2], data)
    with pytest.raises(InputError, match=r"rows: expected numbers in 0\.\.4, got 0\.\.5"):
        compiled.losses(loss, theta, data, np.array([0, 5]))
    with pytest.raises(InputError, match=r"rows: expected numbers in 0\.\.4, got -1\.\.0"):
        compiled.loss_grad(loss, theta, data, np.array([0, -1]))
    with pytest.raises(InputTypeError, match="rows: expected a C-contiguous array of int64"):
        compiled.loss_sum(loss, theta, data, np.array([0.0]))
    with pytest.raises(InputError, match="needs targets"):
        compiled.loss_sum(as_loss("binary"), theta, data)
    with pytest.raises(InputError, match="needs labels"):
        compiled.loss_sum(loss, theta, net.data(np.zeros((2, 3)), np.zeros((2, 3)), "regression"))
    with pytest.raises(InputError, match="data: made for a network of 3 inputs"):
        network(engine, widths=(2, 3, 3, 3)).bind().loss_sum(loss, theta, data)
    records = compiled.layers.copy()
    records["out"][0] = (700, 1, 1)
    with pytest.raises(InputError, match="layers: number 0 contradicts itself"):
        type(compiled)(records, compiled.n_parameters, 3, 3, "float64", "tiles")


def test_against_pytorch(engine):
    torch = pytest.importorskip("torch")
    net = network(engine)
    X, y = rows(net, "multiclass", 50)
    tensors = {name: torch.tensor(view, requires_grad=True) for name, view in net.named_parameters().items()}
    h = torch.tanh(torch.tensor(X) @ tensors["0.weight"].T + tensors["0.bias"])
    h = torch.tanh(h @ tensors["2.weight"].T)
    f = h @ tensors["5.weight"].T + tensors["5.bias"]
    value = torch.nn.functional.cross_entropy(f, torch.tensor(y), reduction="sum")
    value.backward()
    got, gradient = net.value_and_grad(X, y)
    assert got == pytest.approx(value.item(), rel=1e-13)
    truth = np.concatenate([tensor.grad.numpy().ravel() for tensor in tensors.values()])
    np.testing.assert_allclose(gradient, truth, rtol=1e-10, atol=1e-12)
