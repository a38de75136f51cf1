"""The public names for type checkers and editors; at run time they are loaded on first use."""

from . import data as data
from . import densities as densities
from . import errors as errors
from . import estimators as estimators
from . import kernels as kernels
from . import neural as neural
from . import parameters as parameters
from . import plots as plots
from .bayes import predict_model as predict_model
from .bayes import sample_model as sample_model
from .density import Density as Density
from .hamiltonian.hmc import HMC as HMC
from .hamiltonian.metrics import GradientSquare as GradientSquare
from .hamiltonian.metrics import Hessian as Hessian
from .hamiltonian.metrics import HessianDiag as HessianDiag
from .hamiltonian.metrics import SoftAbs as SoftAbs
from .hamiltonian.nuts import NUTS as NUTS
from .hamiltonian.riemannian import RMHMC as RMHMC
from .hamiltonian.riemannian_nuts import RMNUTS as RMNUTS
from .hamiltonian.splitting import SplitHMC as SplitHMC
from .hamiltonian.user_metric import UserMetric as UserMetric
from .metropolis.langevin import MALA as MALA
from .metropolis.minibatch import MMH as MMH
from .metropolis.optimizer import MH as MH
from .metropolis.random_walk import RandomWalk as RandomWalk
from .parameters import CorrelationCholesky as CorrelationCholesky
from .parameters import Interval as Interval
from .parameters import Lower as Lower
from .parameters import Ordered as Ordered
from .parameters import Positive as Positive
from .parameters import Real as Real
from .parameters import Simplex as Simplex
from .parameters import Upper as Upper
from .sampling import resume as resume
from .sampling import sample as sample
from .steps import State as State
from .steps import init as init
from .steps import step as step
from .trace import Trace as Trace

__version__: str

def get_include() -> str: ...
def get_library_dir() -> str: ...
