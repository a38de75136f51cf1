"""Functions that other processes import by name: test modules themselves have none there."""


def logp_grad(x, grad, data):
    logp = 0.0
    for i in range(x.size):
        logp -= 0.5 * (x[i] - data[i]) ** 2
        grad[i] = data[i] - x[i]
    return logp
