"""The eager runner: every operation allocates its result, as plain NumPy does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from mlbench.errors import CopyError
from mlbench.ir import FloatArray, Graph, verify
from mlbench.models import Model
from mlbench.runtime.numpy_backend.lowering import eager_source, forget, load
from mlbench.runtime.validation import checked_all, refuse_single


class BaselineRunner:
    """Run a model as the lines one would write by hand, with a new array for each operation.

    It is compiled to exactly those lines (`print(runner.source)`), so it takes the time and the memory that they take.
    It holds no memory between calls and may be called from any number of threads and by forked processes. It cannot be copied or pickled
    (`CopyError`); send the model to where another runner is needed.

    Args:
        model: the model, or a graph.

    Attributes:
        run_all: `run_all(xs) -> ys`; a tuple of one array for each input, and of one for each output.
        run: `run(x) -> y`; x: (batch, inputs) float32, any number of rows; y: (batch, outputs) float32, a new array. float16 and
            float64 are converted first. Raises `InputError` for a wrong width, rank or dtype, and where the graph has several inputs or
            outputs, which `run_all` takes.
        source: the Python that runs.

    >>> from mlbench import BaselineRunner, mlp
    >>> import numpy as np
    >>> BaselineRunner(mlp(inputs=4, hidden=8, outputs=2)).run(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    __slots__ = ("__weakref__", "run", "run_all", "source")

    # An attribute and not a method: a method that calls the compiled function costs 2 % of the smallest case.
    run: Callable[[npt.NDArray[np.floating]], FloatArray]
    run_all: Callable[[tuple[npt.NDArray[np.floating], ...]], tuple[FloatArray, ...]]
    source: str

    def __init__(self, model: Model | Graph) -> None:
        graph = model.graph() if isinstance(model, Model) else model
        verify(graph)

        def validate_all(xs: object) -> tuple[FloatArray, ...]:
            return tuple(x.astype(np.float32, copy=False) for x in checked_all(xs, graph.inputs))

        def validate(x: object) -> FloatArray:
            return validate_all((x,))[0]

        self.source = eager_source(graph)
        run, filename = load(self.source, "run", "eager", graph.constants, validate=validate if graph.is_single else validate_all)
        weakref.finalize(run, forget, filename)
        self.run = run if graph.is_single else refuse_single(graph)
        self.run_all = (lambda xs: (run(*validate_all(xs)),)) if graph.is_single else run

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied, pickled or sent to another process, as the other runner does.

        Raises:
            CopyError: saying what to do instead.
        """
        raise CopyError("a BaselineRunner cannot be copied or sent to another process: send the model, and make a runner there")
