"""Random programs: the compiled density is the NumPy function's own, its derivatives are the differences.

Every seed writes the source of one function, statement by statement; what NumPy refuses, or what grows, is not kept.
Run as a script, ``python tests/tracing/test_fuzz.py --count 20000 --start 0``, failures are printed with their listing.
"""

import argparse
import collections
import contextlib
import pickle
import re
import signal
import time
import traceback
import warnings

import numpy as np
import pytest
from scipy import special, stats

from micropolis import Density
from micropolis.errors import DensityError

EPS = np.finfo(float).eps
# Both sides of a vector, of two, of a tile.
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 40, 255, 256, 257, 300]
STEPS = [3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 25, 40]
MOST, LARGEST = 2000, 1e3  # elements of an array, and their size


def templates(text):
    """One in each line, or between bars without spaces."""
    return re.split(r"(?<! )\|(?! )|\n", text.strip())


ONE = templates("""
np.exp(-{a} ** 2)|np.exp(0.3 * {a})|np.tanh({a})|np.sin({a}) + np.cos({a})|np.log1p({a} ** 2)
np.sqrt({a} ** 2 + 0.1)|np.abs({a} - {c})|{a} ** 3|{a} ** 2|{a} ** 4 / 9|{a} ** 0|{a} ** 1|(0.3 + {a} ** 2) ** -2
(0.3 + {a} ** 2) ** -1.5|-{a}|np.clip({a}, -0.7, 0.9)|np.clip({a}, None, {c})|np.maximum({a}, {c})
np.minimum({c}, {a})|np.fmax({a}, {c})|np.where({a} > {c}, {a}, 0.5 * {a})|np.where({a} > {c}, np.log({a} - {c}), {c})
np.where({a} < 0, 0.0, np.sqrt({a}))|np.where({a} != 0, np.sin({a}) / {a}, 1.0)
np.where(np.isnan(np.log({a})), 0.0, {a} ** 2)|np.square({a})|np.where(np.abs({a}) < {c}, 1 / ({a} - {a}), {a})
np.nan_to_num(np.log({a}), nan=0.25, neginf=-2)|np.expm1({a} / 2)|special.expit({a})|special.log_expit({a})
special.log_ndtr({a})|special.ndtr({a})|special.erf({a})|special.erfcx(0.2 * {a})|special.gammaln(1.5 + {a} ** 2)
special.gammaln({a})|special.psi(1.3 + {a} ** 2)|special.logit(special.expit({a}))|special.xlogy({k}, 0.1 + {a} ** 2)
special.xlog1py({k}, {a} ** 2)|special.xlogy({a} ** 2, 2.0)|np.arctan({a})|special.betaln(1.2 + {a} ** 2, 2.5)
special.log_softmax({a}, axis=-1)|special.softmax({a}, axis=0)|np.arcsinh({a})|special.entr(0.1 + {a} ** 2)
special.i0e({a})|np.sinh(0.3 * {a})|np.cosh(0.3 * {a})|np.cbrt(3 + np.tanh({a}))|np.logaddexp({a}, 0)
np.logaddexp({c}, {a})|np.logaddexp({a}, -np.inf)|np.hypot({a}, {c})|np.arctan2({a}, {c})|np.arctan2({c}, {a})
np.copysign({a}, {c})|np.copysign({c}, {a})|np.sign({a}) * {a}|np.heaviside({a}, 0.5) * {a}|{a} // 0.7|{a} % 0.7
{a} % -1.3|np.fmod({a}, 0.6)|np.floor({a})|np.ceil({a})|np.trunc({a})|np.mod({a}, 1.1) * {a}|0 * {a}|0.0 * np.exp({a})
1 * {a}|{a} * -1|{a} + 0|{a} - 0.0|0 - {a}|{a} / 2|2 / (3 + {a} ** 2)|{a} - {a}|{a} / (1 + {a} ** 2)
(1 - 1) * {a} + {a}|np.sqrt({a} ** 2)|np.log(np.exp({a}))|np.exp(np.log(1 + {a} ** 2)) - 1|np.reciprocal(2 + {a} ** 2)
np.exp2(0.3 * {a})|np.log2(1 + {a} ** 2)|np.log10(1 + {a} ** 2)|np.arctanh(0.9 * np.tanh({a}))
np.arcsin(0.9 * np.tanh({a}))|np.float_power(1 + {a} ** 2, 0.7)|np.power(1.5, {a})|2 ** {a}|(1 + {a} ** 2) ** {a}
np.deg2rad({a}) * 20|np.sinc({a})|np.tan(np.tanh({a}))|np.log(1 + np.abs({a}))|np.arccosh(1.5 + {a} ** 2)
stats.norm.logpdf({a}, 0.3, 1.2)|stats.norm.logcdf({a})|stats.t.logpdf({a}, 3.5)|stats.cauchy.logpdf({a})
stats.gamma.logpdf(0.1 + {a} ** 2, 2.0)|stats.beta.logpdf(special.expit({a}), 2.0, 0.7)
stats.poisson.logpmf({k}, 0.2 + {a} ** 2)|stats.expon.logpdf({a} ** 2)|stats.laplace.logpdf(np.clip({a}, -99, 99))
stats.logistic.logpdf({a})|stats.binom.logpmf({k}, 9, special.expit({a}))|stats.lognorm.logpdf(0.1 + {a} ** 2, 0.8)
stats.halfnorm.logpdf(np.abs({a}))|stats.bernoulli.logpmf({a} > 0, 0.3)|np.cumsum({a}, axis=-1) / 4
np.cumsum({a}, axis=0) / 4|np.cumprod(1 + 0.1 * np.tanh({a}), axis=-1)|np.cumsum({a}) / 9|np.gradient({a}, axis=-1)
np.maximum.accumulate({a})|np.logaddexp.accumulate({a}) / 3|np.sort(np.arange(4.0))[1] * {a}
np.interp({a}, [-1.0, 0.2, 1.5], [0.3, -1.0, 2.0])|np.polyval([0.3, -1.0, 0.1], {a})|np.polyval([{c}], {a})
""")
TWO = templates("""
{a} + {b}|{a} - {b}|{a} * {b}|{a} * {b} - {b}|{a} / (2 + {b} ** 2)|({a} - {b}) ** 2|np.logaddexp({a}, {b})
np.maximum({a}, {b})|np.minimum({a}, {b})|np.fmin({a}, {b})|np.hypot({a}, {b})|np.arctan2({a}, {b} + 3)
np.where({a} > {b}, {a}, {b} ** 2)|np.where({b} > 0, {a} / {b}, {a})|np.where({b} > 0, {a} * np.log({b}), np.exp({b}))
np.select([{a} > 1, {b} > 0], [{a}, {b}], 0.3)|stats.norm.logpdf({a}, {b}, 1.3)
stats.norm.logpdf({a}, 0.1, np.exp(0.3 * {b}))|stats.t.logpdf({a}, 3.0, {b}, 1.1)|special.xlogy({b}, 1 + {a} ** 2)
special.xlogy({a} ** 2, 1 + {b} ** 2)|(1 + {a} ** 2) ** np.tanh({b})|np.copysign({a}, {b} - 0.137)
special.betaln(1 + {a} ** 2, 1 + {b} ** 2)|special.gammaln(1 + {a} ** 2) - special.gammaln(1 + {b} ** 2)|-{a} + -{b}
({a} > 0) * {b}|(({a} > 0) & ({b} > 0)) * {a}|(({a} > 0) | ({b} > 0)) * {a}|(({a} > 0) ^ ({b} > 0)) * {b}
({a} - {b}) - ({b} - {a})|np.where(({a} > 0) == ({b} > 0), {a}, -{b})|(({a} > 0) + ({b} > 0)) * {a}
np.where(~({a} > {b}), {a}, {b})|-{a} * -{b}|np.where(np.isnan({b}), 0.0, {a} * {b})
np.where(np.isfinite({b}), {a} * {b}, {a})|np.nan_to_num({a} * {b}, nan=0.5, posinf=1, neginf=2)
np.multiply.outer({a}, {b})|np.outer({a}, {b})|np.kron({a}, {b})|np.subtract.outer({a}, {b}) ** 2
({a} * {b}) * {a} - {b} * ({b} * {a})|np.concatenate([{a}, {b}])|np.concatenate([{a}, {b}], axis=-1)
np.stack([{a}, {b}])|np.stack([{a}, {b}], axis=-1)|np.vstack([{a}, {b}])|np.hstack([{a}, {b}])
np.column_stack([{a}, {b}])|np.append({a}, {b})|np.array([{a}, {b}])
np.meshgrid({a}, {b})[0] * np.meshgrid({a}, {b})[1]|np.dstack([{a}, {b}])|np.add(*np.broadcast_arrays({a}, {b}))
{a} @ {b}|{a} @ {b}.T|{a}.T @ {b}|np.dot({a}, {b})|np.inner({a}, {b})|np.matmul({a}, {b})|np.tensordot({a}, {b}, 1)
np.vdot({a}, {b})|np.einsum("i,i", {a}, {b})|np.einsum("ij,j->i", {a}, {b})|np.einsum("ij,kj->ik", {a}, {b})
np.einsum("i,j->ij", {a}, {b})|np.einsum("...i,i->...", {a}, {b})|np.einsum("ij,ij->j", {a}, {b})
np.einsum("ijk,ik->ij", {a}, {b})|np.linalg.multi_dot([{a}, {b}])|np.convolve({a}, {b})|np.cross({a}, {b})
np.interp({a}, [0.0, 1.0], [0.5, 2.0]) * {b}|np.ldexp({a}, 1) + {b}
""")
MOVES = templates("""
{a}.T|{a}[::-1]|{a}[::2]|{a}[1:]|{a}[:-1]|{a}[..., ::-1]|{a}[..., 0]|{a}[..., 1:]|{a}[-1]|{a}[::-2]|{a}[..., ::3]
{a}[None]|{a}[:, None]|{a}[..., None]|{a}.ravel()|{a}.flatten()|{a}.reshape(-1)|{a}.reshape(2, -1)|{a}.reshape(-1, 2)
{a}.reshape(-1, 3)|{a}.reshape(3, -1)|{a}.reshape(2, 2, -1)|{a}.reshape(-1, 4)|{a}.reshape(-1, 8)|{a}.reshape(-1, 9)
{a}.reshape(2, -1).T|np.atleast_2d({a})|np.roll({a}, 1)|np.roll({a}, -2, axis=0)|np.roll({a}, 1, axis=-1)|np.flip({a})
np.flip({a}, axis=-1)|np.tile({a}, 2)|np.tile({a}, (3, 1))|np.repeat({a}, 2)|np.repeat({a}, 2, axis=0)
np.repeat({a}, 3, axis=-1)|np.swapaxes({a}, 0, -1)|np.moveaxis({a}, 0, -1)|np.squeeze({a})|np.pad({a}, 1)
np.pad({a}, [(0, 1)] * {a}.ndim)|np.tril({a})|np.triu({a}, 1)|np.diag({a})|np.diagonal({a})|np.expand_dims({a}, 0)
np.take({a}, [0, 0])|np.take({a}, [0, 1, 0], axis=-1)|np.delete({a}, 0)|np.delete({a}, 1, axis=0)|np.split({a}, 2)[1]
np.broadcast_to({a}, (2, *{a}.shape))|np.diff({a})|np.diff({a}, axis=0)|np.diff({a}, 2)|np.rot90({a})|{a}.transpose()
{a}.swapaxes(0, -1)|np.array_split({a}, 3)[0]|{a}[[0, -1, 0]]|{a}[{I}]|{a}[{I}, ...]|{a}[..., {I}]|{a}[{I}][::-1]
{a}.ravel()[{I}]|{a}[{M}]|{a}[~{M}]|{a}[{M}] ** 2|np.compress({M}, {a})|{a}[:, {I}]|np.array([row for row in {a}])
np.array(list({a}))|np.stack(list({a})[::-1])|np.array([{a}[0], 1.0, {a}[-1]])|np.asarray({a})
np.take_along_axis({a}, np.argsort(np.cos(np.arange({a}.size))).reshape({a}.shape) % {a}.shape[-1], axis=-1)
np.fliplr({a})|np.copy({a})|{a}.copy()|{a} * 1.0|np.array({a})|np.array({a}).T|np.resize({a}, 5)|np.vander({a}, 3)
np.tri(3) @ {a}|np.ravel({a}, order="F")
""")
REDUCE = templates("""
np.sum({a}{x})|np.mean({a}{x})|np.max({a}{x})|np.min({a}{x})|np.var({a}{x})|np.std({a}{x})
np.prod(1 + 0.1 * np.tanh({a}){x})|special.logsumexp({a}{x})|np.logaddexp.reduce({a}{n})|{a}.sum({y})|{a}.mean({y})
{a}.max({y})|np.linalg.norm({a}{n})|np.linalg.norm({a})|np.nansum({a}{x})|np.nanmax({a}{x})|np.nanmean({a}{x})
np.ptp({a}{n})|np.average({a}{n})|np.add.reduce({a}{n})|np.trapezoid({a}{n})|np.sum({a} ** 2{x})
np.sum(np.exp(-{a} ** 2){x})|np.var({a}{x}, ddof=1)|np.maximum.reduce({a}{n})|np.multiply.reduce(0.5 + 0 * {a}{n})
np.sum({a} > 0{x}) * 0.5|np.mean({a} > 0{x})|np.sum({a} > 0{x}) // 2 * 1.0|np.sum({a} > 0{x}) % 3 / 2
np.sum({a} > 0{x}) ** 2 / 9|np.any({a} > 1{x}) * 2.0|np.all({a} > -2{x}) * 2.0|np.count_nonzero({a} > 0{x}) / 3
np.sum({a}{x}, where={M}, initial=0.3)|special.logsumexp({a}{x}, b=0.5)|np.trace({a})
np.median(np.arange(5.0)) * np.sum({a}{x})|np.cumsum({a} > 0)[-1] / 7|np.floor(np.mean({a} > 0{x}))|sum({a})
np.sum({a}{x}) ** 2 / np.size({a})|np.sqrt(1 + np.sum({a} ** 2{x}))
np.average({a}{n}, weights=np.cos(np.arange({a}.size)).reshape({a}.shape) + 2)
""")
MATRICES = [
    "{v} = np.linalg.cholesky({S})",
    "{v} = np.linalg.solve({S}, {b})",
    "{v} = np.linalg.slogdet({S})[1] / 3",
    "{v} = np.linalg.inv({S})",
    "{v} = np.linalg.solve({G}, {b})",
    "{v} = np.linalg.slogdet({G})[1]",
    "{v} = np.linalg.slogdet({G})[0] * np.sum({a})",
    "{v} = np.linalg.det(0.2 * {G})",
    "{v} = np.linalg.inv({G} + 3 * np.eye({k}))",
    "L = np.linalg.cholesky({S})\n{v} = np.linalg.solve(L, {b})",
    "L = np.linalg.cholesky({S})\n{v} = np.log(np.diag(L)).sum()",
    "{v} = np.linalg.solve(np.linalg.cholesky({S}).T, {b})",
    "{v} = np.linalg.matrix_power(0.3 * {G}, 3)",
    "{v} = stats.multivariate_normal.logpdf({b}, np.zeros({k}), {S})",
    "{v} = np.trace({G} @ {S}) / 9",
    "import scipy.linalg\n{v} = scipy.linalg.solve_triangular(np.linalg.cholesky({S}), {b}, lower=True)",
    "import scipy.linalg\n{v} = scipy.linalg.cho_solve(scipy.linalg.cho_factor({S}), {b})",
]
IN_PLACE = [
    "{v} = {a}.copy()\n{v}[0] = {s}",
    "{v} = {a}.copy()\n{v}[::2] = {s}",
    "{v} = {a}.copy()\n{v}[1:] = {v}[:-1]",
    "{v} = {a}.copy()\n{v}[:-1] += {v}[1:]",
    "{v} = {a} + 0\n{v}[::-1] *= {v}",
    "{v} = {a} * 1\n{w} = {v}\n{w} += 1\n{w} *= {a}",
    "{v} = {a} * 1.0\n{w} = {v}[::2]\n{w} /= 2\n{w}[0] = {s}",
    '{v} = np.copy({a}, order="C")\n{v}.reshape(-1)[{I}] = {s}',
    '{v} = np.copy({a}, order="C")\n{v}.T[0] = {s}\n{v}.ravel()[-1] = 0.7',
    "{v} = np.copy({a})\n{v}[{I}] += 1\n{v}[{I}][0] = 9.0",
    "{v} = np.copy({a})\n{v}[{M}] = {s}\n{v}[~{M}] *= 2",
    "{v} = np.copy({a})\nnp.add.at({v}, {I}, {s})",
    "{v} = np.copy({a})\nnp.subtract.at({v}, {I}, 0.5)",
    "{v} = np.zeros({a}.shape)\n{v}[...] = {a}\n{v}[0] += {s}",
    "{v} = np.zeros({a}.size)\nfor k in range({a}.size):\n    {v}[k] = {a}.reshape(-1)[k] * k",
    "{v} = np.zeros_like({a})\n{v}[::2] = {a}[::2]\n{v}[1::2] -= {a}[1::2]",
    "{v} = np.ones({a}.shape)\nfor k in range(len({a})):\n    {v}[k] = {v}[k - 1] * 0.5 + {a}[k]",
    "{v} = np.empty({a}.shape)\n{v}[:] = 0.3\n{v}[{M}] = {a}[{M}]",
    "{v} = np.full({a}.shape, {s})\n{v} += {a}",
    "{v} = np.eye(4)\n{v}[1, 2] = {s}\n{v}[3] = {s}\nnp.fill_diagonal({v}, 2.0)",
    "{v} = np.array({a})\n{w} = {v}[..., -1]\n{v}[..., 0] = {s}\n{v} = {v} + np.sum({w})",
    "{v} = np.exp(0.1 * {a})\n{v} -= {v}.mean()\n{v} **= 2",
    "{v} = {a}.copy()\nfor row in {v}:\n    row[...] = row[::-1] * 2",
    "{v} = {a}.copy()\nnp.maximum({v}, 0.1, out={v})",
    "{v} = {a}.copy()\nnp.multiply({v}, 2.0, out={v}, where={v} > 0)",
    "{v} = {a}.copy()\nnp.put({v}, [0, -1], {s})",
    "{v} = {a}.copy()\nnp.diagonal({v})\n{v}.flat[0] = {s}",
    "{v} = {a}.copy()\n{w} = np.split({v}, 2)[0]\n{w} += {s}",
    "{v} = {a}.copy()\n{v}[0], {v}[-1] = {v}[-1], {v}[0]",
    "{v} = {a}.copy()\n{v}[0, ::2], {v}[-1] = {v}[-1, ::2], 0.1",
]
# Bodies of loops: {h}, {g}, {q} are carried, {d} is data, {e} has gaps, {y} are elements, {p} and {r} numbers.
BODIES = [
    ["{h} = {p} * {h} + {y}"],
    ["{h} = np.tanh({p} * {h} + {y})"],
    ["{h} = 0.1 + {p} ** 2 * {d} ** 2 / 9 + 0.4 * {h}", "acc = acc - 0.5 * (np.log({h}) + {d} ** 2 / {h})"],
    ["{g} = {g} + 0.3", "k = {g} / ({g} + 1 + {p} ** 2)", "{h} = {h} + k * ({d} - {h})", "{g} = (1 - k) * {g}"],
    ["{h}, {g} = {g}, np.tanh({h} - {y})"],
    ["{h}, {g} = 0.5 * {h} + 0.3 * {g} + {y}, 0.2 * {h} - 0.4 * {g} + {d}"],
    ["{h}, {g}, {q} = np.sin({g}), {p} * 0.3 * {q} + {y}, np.cos({h})"],
    ["new = np.tanh({h} * {g}) + {d}", "{h} = new", "{g} = new"],
    ["new = 0.5 * {h} - 0.3 * {g} + {y}", "{g} = {h}", "{h} = new"],
    ["new = 0.5 * {h} - 0.3 * {g} + 0.1 * {q}", "{q} = {g}", "{g} = {h}", "{h} = new + {y}"],
    ["u = np.logaddexp({h} - 0.4, {g} - 1.1) + {y}", "{g} = np.logaddexp({h} - 1.2, {g} - 0.5) - {d} ** 2", "{h} = u"],
    ["{h} = {h} + {y}", "{g} = {g} - {d} * {y}"],
    ["{h} = {h} + {y}", "{g} = {g} + {h} / 9"],
    ["{h} = {h} - {y}", "{h} = {h} + {d}"],
    ["{h} = {y} - {h}"],
    ["{h} = -{h} + {y}"],
    ["{h} = {d} * {h} + 1.0"],
    ["{h} = {h} / (1 + {p} ** 2) + {d}"],
    ["{h} = np.maximum({h}, {y})"],
    ["{h} = np.where({y} > 0, 0.5 * {h} + {y}, {h})"],
    ["acc = acc + (-1) ** t * {y} ** 2"],
    ["acc += {y} * {d} if t % 2 else np.sin({y})"],
    ["if t % 2:", "    {h} = 0.5 * {h} + {y}", "else:", "    acc = acc + {h}"],
    ["if t > 2:", "    {h} = 0.7 * {h} + {d}", "acc = acc + {h} * {y}"],
    ["if t % 3 == 0:", "    continue", "{h} = np.cos({h}) + {y}"],
    ["for j in range(3):", "    {h} = 0.5 * {h} + {y} * j", "acc = acc + {h}"],
    ["{h} = 1 / (2 + {h} ** 2) + {y}"],
    ["{h} = {p} * ({d} - {p} * {h})"],
    ["{h} = {h} * np.exp(-np.abs({y}))"],
    ["{h} = {h} * {p} + {g} * {r}", "{g} = {g} * 0.9"],
    ["acc = acc + stats.norm.logpdf({y}, {h}, 1.5)", "{h} = {y}"],
    ["acc = acc + {y} * {g}", "{g} = {y}"],
    ["{h} = {h} * 1.0", "acc = acc + {h}"],
    ["v = 0.3 * {h}", "w = v + {d}", "{h} = w * w / 9 - v"],
    ["{h} = (({h} > 0) & ({y} > 0)) * 0.5 + {h} * 0.3"],
    ["{h} = np.where(np.isnan({e}), {h}, 0.5 * {h} + 0.2 * ({e} - {p}))"],
    ["{h} = np.logaddexp({h} - 0.4, {y}) - ({d} - {y}) ** 2"],
    ["{g} = np.logaddexp({g} - 0.7, {h} - 0.7) - ({d} - {p}) ** 2", "{h} = {h} - 0.7 - ({d} - {r}) ** 2"],
    ["{h} = np.tanh({h}) + -{y}", "acc = acc - -{h}"],
    ["{h} = np.sin({h} * (0.3 * {y})) * 2.0 - (-{d})"],
    ["{h} = np.cos({h}) * (2.0 * ({y} * {p}))"],
    ["{h} = np.where({h} > 0, {h} - {y}, -{h}) * 0.5 + (0.5 * {y}) * {d}"],
    ["{h} = np.arctan({h} + {y} / 2) / ({p} ** 2 + 1)"],
    ["{h} = np.exp(-({h} - {y}) ** 2) * {y} ** 2 / ({y} ** 2 + 1)"],
    ["{h} = 0.5 * {h} * -{y} + {p} * {d} * 2", "{g} = ({h} - {y}) * {g} * 0.1"],
    ["if np.isnan({e}):", "    continue", "{h} = 0.5 * {h} + 0.2 * ({e} - {p})"],
]
STREAMS = [
    "{a}[t]",
    "{a}[t]",
    "{a}[T - 1 - t]",
    "{a}[t % {a}.size]",
    "{a}[{J}[t]]",
    "x[0]",
    "{a}[-1 - t]",
    "{a}[2]",
    "{a}[(2 * t) % {a}.size]",
]


class Rejected(Exception):
    """A statement that NumPy refuses, or whose result is of no use."""


class Writer:
    """Writes a random function of x (dim,)."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng([7, seed])
        self.dim = int(rng.choice([1, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 12, 16, 17]))
        self.x = rng.normal(scale=0.8, size=(2, self.dim))
        self.constants, self.lines, self.names, self.count = {}, [], ["x"], 0
        self.values = [{"x": x} for x in self.x]
        first = [f"x[{self.indices(self.dim, int(rng.choice(SIZES)))}]" for _ in range(2)]
        first += [
            f"{self.matrix(int(rng.choice(SIZES)))} @ x",
            "x * 1.0",
            "2 * x - 0.3",
            "x.copy()",
            "np.outer(x, x)[0] + 0.1",
        ]
        for k in rng.permutation(len(first))[:3]:
            self.attempt(f"{{v}} = {first[k]}")
        makers = [
            self.one,
            self.two,
            self.two,
            self.move,
            self.reduce,
            self.in_place,
            self.loop,
            self.linalg,
            self.constant_two,
        ]
        weights = rng.dirichlet(np.ones(len(makers)))
        steps = int(rng.integers(2, 9))
        for _ in range(60):
            if steps == 0:
                break
            with contextlib.suppress(Rejected):
                makers[rng.choice(len(makers), p=weights)]()
                steps -= 1
        self.finish()

    # -- parts -------------------------------------------------------------------------------------------------------

    def name(self, prefix="v"):
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, value, prefix="C"):
        name = self.name(prefix)
        self.constants[name] = value
        return name

    def matrix(self, rows):
        values = self.rng.normal(size=(rows, self.dim))
        if self.rng.random() < 0.3:
            values[self.rng.random(values.shape) < 0.4] = 0.0
        return self.constant(values)

    def indices(self, size, count):
        return self.constant(self.rng.integers(0, size, count), "I")

    def data(self, shape):
        """A constant array of one of NumPy's kinds, some with values that formulas trip over."""
        rng, kind = self.rng, self.rng.integers(0, 9)
        values = rng.normal(size=shape)
        if kind == 0:
            values = rng.choice([0.0, -0.0, 1.0, -1.0, 2.5], shape)
        elif kind == 1:
            values = rng.integers(-2, 4, shape)
        elif kind == 2:
            values = np.asarray(values > 0)
        elif kind == 3:
            values = np.where(rng.random(shape) < 0.3, np.nan, values)
        elif kind == 4:
            values = np.where(rng.random(shape) < 0.2, rng.choice([np.inf, -np.inf], shape), values)
        elif kind == 5:
            values = np.asarray(values, dtype=np.float32)
        elif kind == 6:
            values = np.asfortranarray(values)
        elif kind == 7:
            values = np.full(shape, rng.choice([0.0, 1.0, -1.0]))
        return self.constant(values)

    def pick(self, least=0):
        some = [n for n in self.names if np.ndim(self.values[0][n]) >= least]
        if not some:
            raise Rejected
        # the newest most often
        return some[-1] if self.rng.random() < 0.4 else some[self.rng.integers(len(some))]

    def fill(self, template, **given):
        rng = self.rng
        a = given.get("a") or self.pick()
        shape = np.shape(self.values[0][a])
        known = {"a": a, "v": given.get("v") or self.name(), "w": self.name("w"), **given}
        fields = set(re.findall(r"\{(\w)\}", template))
        if "b" in fields and "b" not in known:
            known["b"] = self.pick()
        if "c" in fields:
            known["c"] = str(round(float(rng.choice([0.1, -0.3, 0.7, 1.1])), 2))
        if "k" in fields and "k" not in known:
            known["k"] = self.constant(rng.integers(0, 4, shape[-1:]), "K")
        if "s" in fields:
            known["s"] = str(rng.choice([f"{self.pick()}", f"np.sum({self.pick()})", "0.25", "x[0]", "x[-1] * 2", "1"]))
        if "I" in fields:
            n = (
                shape[0]
                if "{a}[{I}" in template or "{v}[{I}" in template or "{v}, {I}" in template
                else int(np.prod(shape))
            )
            n = shape[-1] if "..., {I}" in template and shape else n
            known["I"] = self.indices(max(n, 1), int(rng.choice([1, 2, 3, 8, 17, 40])))
        if "M" in fields:
            known["M"] = self.constant(rng.random(shape if rng.random() < 0.5 else shape[:1]) < 0.6, "M")
        if "x" in fields or "n" in fields or "y" in fields:
            axes = ["", *[f", axis={k}" for k in range(-1, len(shape))]]
            more = list(axes)
            if len(shape) > 1:
                more += [", axis=(0, -1)", ", axis=(0, 1)", ", axis=(1,)"]
            keep = ", keepdims=True" if rng.random() < 0.3 else ""
            known["x"] = str(rng.choice(more)) + keep
            known["n"] = str(rng.choice(axes[1:] or [""]))
            known["y"] = (str(rng.choice(more)) + keep).lstrip(", ")
        return re.sub(r"\{(\w)\}", lambda m: known.get(m[1], m[0]), template), known["v"]

    # -- statements --------------------------------------------------------------------------------------------------

    def attempt(self, template, **given):
        text, new = self.fill(template, **given)
        self.accept(text, [new])

    def accept(self, text, new):
        lines = [*self.lines, *text.split("\n")]
        values = []
        for x in self.x:
            values.append(self.run(lines, x))
            for name in new:
                value = values[-1].get(name)
                if isinstance(value, (list, tuple)) or value is None:
                    raise Rejected
                if np.asarray(value).dtype.kind not in "fiub" or not 0 < np.size(value) <= MOST:
                    raise Rejected
                if not np.all(np.abs(np.asarray(value, dtype=float)) < LARGEST):
                    raise Rejected
        self.lines, self.values = lines, values
        self.names += [n for n in new if n not in self.names]
        for n in self.names:  # written through a view
            if not np.all(np.abs(np.asarray(values[0][n], dtype=float)) < LARGEST):
                self.names.remove(n)

    def run(self, lines, x):
        names = dict(np=np, special=special, stats=stats, x=x.copy(), **self.constants)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec("\n".join(lines), names)
        except Exception as error:
            raise Rejected from error
        return names

    def one(self):
        self.attempt("{v} = " + str(self.rng.choice(ONE)))

    def two(self):
        self.attempt("{v} = " + str(self.rng.choice(TWO)))

    def constant_two(self):
        """A constant on one side, of a shape that may go with the other."""
        a = self.pick()
        shape = np.shape(self.values[0][a])
        kind, rng = self.rng.integers(0, 6), self.rng
        if kind == 1:
            shape = shape[-1:]
        elif kind == 2 and shape:
            shape = (*shape[:-1], 1)
        elif kind == 3 and shape:
            shape = (int(rng.integers(1, 5)), shape[-1])
        elif kind == 4 and shape:
            shape = (shape[-1], int(rng.integers(1, 5)))
        elif kind == 5:
            shape = ()
        if np.prod(shape, dtype=int) > MOST:
            raise Rejected
        b = self.data(shape)
        left, right = (a, b) if rng.random() < 0.5 else (b, a)
        self.attempt("{v} = " + str(rng.choice(TWO)), a=left, b=right) if left == a else self.swapped(left, right)

    def swapped(self, left, right):
        template = str(self.rng.choice(TWO)).replace("{a}", "{z}").replace("{b}", "{a}").replace("{z}", left)
        self.attempt("{v} = " + template, a=right)

    def move(self):
        self.attempt("{v} = " + str(self.rng.choice(MOVES)), a=self.pick(1))

    def reduce(self):
        self.attempt("{v} = " + str(self.rng.choice(REDUCE)), a=self.pick(1))

    def in_place(self):
        self.attempt(str(self.rng.choice(IN_PLACE)), a=self.pick(1))

    def linalg(self):
        rng, k = self.rng, int(self.rng.choice([1, 2, 3, 4, 9]))
        total = "x[" + self.indices(self.dim, k * k) + f"].reshape({k}, {k})"
        skew = self.constant(np.roll(np.eye(k), 1, axis=0) * 4 + np.diag(np.full(k, 0.1)))
        square, base = f"(0.5 * {total} @ {total}.T + {self.constant(np.eye(k) + 0.1)})", f"(np.tanh({total}) + {skew})"
        right = f"x[{self.indices(self.dim, k)}]" if rng.random() < 0.5 else self.constant(rng.normal(size=(k, 2)))
        with contextlib.suppress(Rejected):
            if rng.random() < 0.3:
                some = self.pick(1)
                if np.shape(self.values[0][some])[0] == k:
                    right = some
        self.attempt(str(rng.choice(MATRICES)), S=square, G=base, b=right, k=str(k))

    def loop(self):
        rng = self.rng
        steps = int(rng.choice(STEPS))
        bodies = [BODIES[i] for i in rng.integers(0, len(BODIES), int(rng.choice([1, 1, 2])))]
        carries = {"h": self.name("h"), "g": self.name("g"), "q": self.name("q")}
        sources = [n for n in self.names if np.ndim(self.values[0][n]) == 1 and np.size(self.values[0][n]) >= steps]
        if not sources:
            self.attempt(f"{{v}} = x[{self.indices(self.dim, steps)}]")
            sources = [self.names[-1]]
        known = {
            **carries, "a": str(rng.choice(sources)), "J": self.indices(steps, steps),
            "p": str(rng.choice(["x[0]", "x[-1]", "0.6", "np.tanh(x[0])"])),
            "r": "0.1",
        }  # fmt: skip
        known["d"] = f"{self.constant(rng.normal(size=steps))}[t]"
        known["e"] = f"{self.constant(np.where(rng.random(steps) < 0.3, np.nan, rng.normal(size=steps)))}[t]"
        known["y"] = re.sub(r"\{(\w)\}", lambda m: known[m[1]], str(rng.choice(STREAMS)))
        lines = ["acc = 0.0", f"T = {steps}", "out = []"]
        starts = ["0.0", "x[0]", "0.3", "1.0", "x[-1] * 0.5", "np.float64(0.1)"]
        if all("logaddexp" in body[0] for body in bodies):
            starts.append("-np.inf")
        lines += [f"{c} = {rng.choice(starts)}" for c in carries.values()]
        ends = [
            "out.append({h})",
            "acc = acc + {h} ** 2",
            "acc = acc + {h} * {d}",
            "pass",
            "z[t] = {h}",
            "acc -= {h}",
            "out.append(acc + {g})",
        ]
        end = [str(rng.choice(ends)) for _ in range(int(rng.choice([1, 2])))]
        if any("z[" in e for e in end):
            lines += ["z = np.zeros(T)" if rng.random() < 0.5 else "z = np.zeros(T, like=x)"]
        lines += [str(rng.choice(["for t in range(T):", "for t in range(T):", "for t, _ in enumerate(range(T)):"]))]
        for text in [line for body in bodies for line in body] + end:
            lines.append("    " + re.sub(r"\{(\w)\}", lambda m: known[m[1]], text))
        v = self.name()
        results = ["acc", carries["h"], carries["g"] + " + acc"]
        if any("out" in e for e in end):
            results = ["np.array(out)", "np.stack(out)", "sum(out)", "np.array(out) * acc"]
        elif any("z[" in e for e in end):
            results = ["z", "z + acc", "z[::-1]"]
        lines.append(f"{v} = {rng.choice(results)}")
        self.accept("\n".join(lines), [v])

    def finish(self):
        ends, rng = [], self.rng
        for name in self.names[1:]:
            if rng.random() < 0.7 or name == self.names[-1]:
                form = rng.choice(
                    [
                        "np.sum({})",
                        "np.sum({} ** 2)",
                        "np.sum(np.sin({}))",
                        "np.ravel({}) @ np.cos(np.arange(np.size({})))",
                        "np.mean({})",
                    ]
                )
                ends.append(f"{rng.choice([1, -1, 0.5, -0.3])} * {form.replace('{}', name)}")
        ends.append(str(rng.choice(["-0.5 * x @ x", "-np.sum(x**2)", "np.sum(x) * 0.1"])))
        self.lines.append("return " + " + ".join(ends))


class Case:
    """One random program and all that must hold of it."""

    def __init__(self, seed):
        self.seed = seed
        self.writer = writer = Writer(seed)
        self.dim, self.points = writer.dim, writer.x
        self.source = "def f(x):\n" + "\n".join("    " + line for line in writer.lines)
        names = {"np": np, "special": special, "stats": stats, "__name__": "fuzz", **writer.constants}
        exec(compile(self.source, f"<fuzz {seed}>", "exec"), names)
        self.f = names["f"]

    def __str__(self):
        with np.printoptions(threshold=40, linewidth=150):
            used = {k: v for k, v in self.writer.constants.items() if re.search(rf"\b{k}\b", self.source)}
            return "\n".join(
                [
                    f"seed {self.seed}, dim {self.dim}",
                    *[f"{k} = {v!r}" for k, v in used.items()],
                    self.source,
                    f"x = {self.points[0]!r}",
                ]
            )

    def plain(self, x):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return float(np.asarray(self.f(np.array(x))).reshape(()))
            except (np.linalg.LinAlgError, ValueError) as error:
                if isinstance(error, ValueError) and "infs or NaNs" not in str(error):
                    raise
                return np.nan

    def noise(self, x, value):
        """How far rounding may move the value: what it moves by as x does by units in the last place."""
        moved = [abs(self.plain(x * (1 + k * EPS)) - value) for k in (-3.0, 2.0, 5.0)]
        moved = [m for m in moved if np.isfinite(m)]
        return 2e-12 * (1 + abs(value)) + 50 * max(moved, default=0.0)

    def check(self):
        density = Density.from_numpy(self.f, self.dim)
        rng = np.random.default_rng(self.seed)
        outside = np.where(rng.random(self.dim) < 0.7, -3.0, 3.0) * rng.uniform(0.5, 2, self.dim)
        unknown = np.where(np.arange(self.dim) == rng.integers(self.dim), np.nan, self.points[0])
        far = 100 * self.points[1]
        assert kind(density(far)) == kind(self.plain(far)), (
            f"value at {far}: {density(far)!r}, NumPy {self.plain(far)!r}"
        )
        for x in (*self.points, outside, np.zeros(self.dim), unknown):
            expected, got = self.plain(x), density(x)
            if not agrees(got, expected, 0.0) and not agrees(got, expected, self.noise(x, expected)):
                # a jump may lie within rounding
                near = [self.plain(x * (1 + k * EPS) + k * 1e-18) for k in (-64.0, -8.0, -1.0, 1.0, 8.0, 64.0)]
                near += [self.plain(x + 1e-15 * rng.normal(size=self.dim)) for _ in range(40)]
                assert any(agrees(got, v, self.noise(x, expected)) for v in near), (
                    f"value at {x}: {got!r}, NumPy {expected!r}"
                )
        self.check_gradient(density, self.points[self.seed % 2], rng)
        if self.dim <= 6 and self.seed % 2 == 0:
            self.check_second(density, self.points[0], rng)
        self.check_forms(density, rng)

    def check_gradient(self, density, x, rng):
        value, gradient = density.value_and_grad(x)
        assert value == density(x), f"value_and_grad has another value than the density: {value!r}, {density(x)!r}"
        base = self.plain(x)
        if not np.isfinite(base):
            return
        noise = 20 * self.noise(x, base)
        some = rng.permutation(self.dim)[:6]
        gradient = gradient[some]
        bad = None
        for step in (1e-4, 1e-5, 1e-3):
            slope, bound = differences(lambda rows: np.array([self.plain(r) for r in rows]), x, step, noise, some)
            known = np.isfinite(slope) & np.isfinite(bound)
            wrong = known & ~(np.abs(gradient - slope) <= bound + 1e-9 * np.abs(slope))
            if not wrong.any():
                return
            bad = wrong if bad is None else bad & wrong
            if not bad.any():
                return
        raise AssertionError(
            f"gradient at {x!r}: {gradient}, differences {slope}, bound {bound}, wrong {some[bad]} of {some}"
        )

    def check_second(self, density, x, rng):
        if not np.isfinite(self.plain(x)):
            return
        hessian, v = density.hessian(x), rng.normal(size=self.dim)
        gradient = density.grad(x)
        moved = [np.abs(density.grad(x * (1 + k * EPS)) - gradient) for k in (-3.0, 2.0)]
        noise = 1e-13 * (1 + np.abs(gradient).max()) + 20 * np.nanmax(moved)
        for step in (1e-4, 1e-5, 1e-3):
            slope, bound = differences(lambda rows: np.array([density.grad(r) for r in rows]), x, step, noise)
            known = np.isfinite(slope) & np.isfinite(bound)
            wrong = known & ~(np.abs(hessian - slope) <= bound + 1e-8 * np.abs(slope).max())
            if not wrong.any():
                break
        assert not wrong.any(), f"Hessian at {x!r}: {hessian}, differences of the gradient {slope}, bound {bound}"
        if np.all(np.isfinite(hessian)):
            scale = 1e-10 * (1 + np.abs(hessian) @ np.abs(v))
            assert np.all(np.abs(density.hvp(x, v) - hessian @ v) <= scale), f"hvp: {density.hvp(x, v)}, {hessian @ v}"

    def check_forms(self, density, rng):
        """Many points at once, and a copy through pickle."""
        rows = np.concatenate([self.points, self.points[0] + rng.normal(scale=2.0, size=(18, self.dim))])
        together, alone = density(rows), np.array([density(row) for row in rows])
        for row, got, one in zip(rows, together, alone, strict=True):
            assert agrees(got, one, 0.0) or agrees(got, one, self.noise(row, one)), (
                f"at once {got!r}, alone {one!r} at {row!r}"
            )
        _, slopes = density.value_and_grad(rows)
        again = density.grad(rows[3])
        known = np.isfinite(again)
        np.testing.assert_array_equal(np.isfinite(slopes[3]), known, err_msg="gradient at once")
        scale = 1 + np.abs(again[known]).max(initial=0.0)
        if agrees(self.plain(rows[3] * (1 + 8 * EPS)), alone[3], 1e-6 * (1 + abs(alone[3]))):
            np.testing.assert_allclose(
                slopes[3][known], again[known], rtol=1e-7, atol=1e-9 * scale, err_msg="gradient at once"
            )
        if self.seed % 3 == 0:
            copy = pickle.loads(pickle.dumps(density))
            for row in rows[:3]:
                (a, g), (b, h) = density.value_and_grad(row), copy.value_and_grad(row)
                assert np.array_equal(a, b, equal_nan=True) and np.array_equal(g, h, equal_nan=True), (
                    f"pickle: {a} {b} {g} {h}"
                )


def in_single(case, error):
    """Whether NumPy computes with float32 data in single precision, where the density is as exact as ever."""
    some = re.findall(
        r"(-?[\d.]+(?:e[-+]?\d+)?)(?: where the function gives|, NumPy) (?:np.float64\()?(-?[\d.]+(?:e[-+]?\d+)?)",
        str(error),
    )
    single = any(
        getattr(v, "dtype", None) == np.float32 and re.search(rf"\b{k}\b", case.source)
        for k, v in case.writer.constants.items()
    )
    return single and bool(some) and abs(float(some[0][0]) - float(some[0][1])) <= 1e-5 * (1 + abs(float(some[0][1])))


def kind(value):
    """NaN, either infinity, or a number that does not come near them."""
    return str(value) if not abs(value) < 1e300 else "a number"


def agrees(got, expected, noise):
    if np.isnan(expected) or np.isnan(got):
        return bool(np.isnan(expected) and np.isnan(got))
    return got == expected or bool(abs(got - expected) <= noise)


def differences(f, x, step, noise, some=slice(None)):
    """Derivatives by `some` coordinates by Richardson's extrapolation, and a bound of their error."""
    h = step * np.maximum(1.0, np.abs(x))[some]
    slopes = []
    for part in (1.0, 0.5, 0.25):
        shift = (part * h)[:, None] * np.eye(len(x))[some]
        slopes.append(np.moveaxis(f(x + shift) - f(x - shift), 0, -1) / (2 * part * h))
    coarse, fine = (4 * slopes[1] - slopes[0]) / 3, (4 * slopes[2] - slopes[1]) / 3
    return fine, 2 * np.abs(fine - coarse) + noise * (5 / 3) / (0.25 * h)


# Seeds of programs that are refused, with a reason; all others must be traced.
NOT_TRACED = frozenset([68, 127])
REFUSED = re.compile(
    "cannot be traced|takes numbers alone|into a NumPy array|make a list of values|np.zeros|float16|has no derivative"
)


@pytest.mark.parametrize("seed", [seed for seed in range(152) if seed not in NOT_TRACED])
def test_program(seed):
    case = Case(seed)
    failure = ""
    try:
        case.check()
    except (AssertionError, DensityError) as error:
        failure = "" if in_single(case, error) else f"{error}\n{case}"
    assert not failure, failure


class TooLong(Exception):
    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="print refusals too")
    options = parser.parse_args()
    started, failures, refused = time.time(), 0, collections.Counter()

    def stop(*_):
        raise TooLong("more than 20 s")

    signal.signal(signal.SIGALRM, stop)
    for seed in range(options.start, options.start + options.count):
        signal.alarm(20)
        case = None
        try:
            case = Case(seed)
            case.check()
        except DensityError as error:
            if in_single(case, error):
                refused["float32"] += 1
            elif "the traced log density is" in str(error) or not REFUSED.search(str(error)):
                failures += 1
                print(f"---- REFUSED WRONGLY {error}\n{case}\n", flush=True)
            else:
                refused[re.sub(r".*?(: |$)", "", str(error), count=1)[:110]] += 1
                if options.all:
                    print(f"---- refused {error}\n{case}\n", flush=True)
        except Exception as error:
            if case is not None and in_single(case, error):
                refused["float32"] += 1
                continue
            failures += 1
            text = "" if isinstance(error, AssertionError) else traceback.format_exc()
            print(f"---- {type(error).__name__} {error}\n{text}\n{case}\n", flush=True)
        finally:
            signal.alarm(0)
        if (seed + 1 - options.start) % 500 == 0:
            print(
                f"# {seed + 1}: {failures} failures, {sum(refused.values())} refused, {time.time() - started:.0f} s",
                flush=True,
            )
    for reason, count in refused.most_common(40):
        print(f"# {count} {reason}")
    print(f"# {options.count} programs, {failures} failures, {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
