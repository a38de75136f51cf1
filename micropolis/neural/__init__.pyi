"""The public names for type checkers and editors; at run time they are loaded on first use."""

from .layers import SELU as SELU
from .layers import Conv2d as Conv2d
from .layers import Flatten as Flatten
from .layers import Linear as Linear
from .layers import MaxPool2d as MaxPool2d
from .layers import ReLU as ReLU
from .layers import Sigmoid as Sigmoid
from .layers import Tanh as Tanh
from .network import Sequential as Sequential
from .optimizers import SGD as SGD
from .optimizers import Adam as Adam
from .posterior import Posterior as Posterior
