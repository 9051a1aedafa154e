"""The eager runner: every operation allocates its result, as plain NumPy does."""

from __future__ import annotations

import weakref
from typing import NoReturn

import numpy as np

from mlbench.errors import CopyError
from mlbench.runtime.dispatch import Run
from mlbench.runtime.numpy_backend.lowering import eager_source, forget, load
from mlbench.runtime.validation import Floats, Source, check_each, checked_all, graph_of, signature_of


class BaselineRunner:
    """Run a model as the lines one would write by hand, with a new array for each operation.

    It is compiled to exactly those lines (`print(runner.source)`), so it takes the time and the memory that they take.
    It holds no memory between calls and may be called from any number of threads and by forked processes. It cannot be copied or pickled
    (`CopyError`); send the model to where another runner is needed.

    Args:
        model: the model, a network that was imported, or a graph.

    Attributes:
        run: `run(x) -> y`; x: (batch, inputs) float32, any number of rows; y: (batch, outputs) float32, a new array. float16 and
            float64 are converted first. For several inputs `run(x0, x1, ...)`, in the order of the file; a dict of names to arrays may
            stand for the input or for all of them. For several outputs y is a tuple, in the order of the file. Raises `InputError` for a
            wrong width, rank or dtype, and for another batch than a fixed one.
        source: the Python that runs.

    >>> from mlbench import BaselineRunner, mlp
    >>> import numpy as np
    >>> BaselineRunner(mlp(inputs=4, hidden=8, outputs=2)).run(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    __slots__ = ("__weakref__", "run", "source")

    # An attribute and not a method: a method that calls the compiled function costs 2 % of the smallest case.
    run: Run
    source: str

    def __init__(self, model: Source) -> None:
        graph, signature = graph_of(model), signature_of(model)
        wholes = {name: signature.whole.get(name) for name in signature.inputs}
        indices = [each.dtype if each is not None and each.is_index else "" for each in wholes.values()]
        whole = {value: dtype for value, dtype in zip(graph.inputs, indices, strict=True) if dtype}

        def validate(*xs: object) -> Floats | tuple[Floats, ...]:
            found = checked_all(xs, signature)
            for x, (name, each) in zip(found, wholes.items(), strict=True):
                if each is not None:
                    check_each(x, each, name)
            arrays = tuple(x.astype(dtype or np.float32, copy=False) for x, dtype in zip(found, indices, strict=True))
            return arrays if len(arrays) > 1 else arrays[0]

        self.source = eager_source(graph, signature.batch, whole)
        self.run, filename = load(self.source, "run", "eager", graph.constants, validate=validate)
        weakref.finalize(self.run, forget, filename)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied, pickled or sent to another process, as the other runner does.

        Raises:
            CopyError: saying what to do instead.
        """
        raise CopyError("a BaselineRunner cannot be copied or sent to another process: send the model, and make a runner there")
