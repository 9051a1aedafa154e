"""Networks out of `.skops` files, which hold a scikit-learn estimator without a pickle.

The `skops` package reads the file. It makes objects of types by their names, and of those alone that it trusts: NumPy's, SciPy's and
scikit-learn's estimators. A file with any other type is refused before an object is made. The two optimizers with which perceptrons were
trained are allowed besides.
"""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

from mlbench.errors import FileError, MissingExtraError, ModelError
from mlbench.models.network import Network
from mlbench.models.sklearn import from_sklearn
from mlbench.units import format_bytes

_OPTIMIZERS = {f"sklearn.neural_network._stochastic_optimizers.{name}" for name in ("AdamOptimizer", "SGDOptimizer")}
_DAMAGE = (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, ImportError, IndexError, EOFError, RecursionError, OSError)
"""What the package raises for files that are none."""


def load_skops(path: str | os.PathLike[str], content: bytes, most_bytes: int) -> Network:
    """Return the estimator in a file as a network.

    Args:
        path: of the file, for messages.
        content: of the file.
        most_bytes: of what it unpacks to.

    Raises:
        FileError: when it is damaged, unpacks to more, or has types that are not trusted.
        ModelError: when the estimator is of a kind that is not supported.
        MissingExtraError: without the `skops` package.
    """
    try:
        import skops.io  # noqa: PLC0415  # only where such a file is brought
    except ImportError as error:
        raise MissingExtraError("reading a file of skops", "skops", "skops") from error
    _check_size(path, content, most_bytes)
    unknown: list[str] = []
    estimator: Any = None
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - _OPTIMIZERS)
        if not unknown:
            estimator = skops.io.loads(content, trusted=sorted(_OPTIMIZERS))
    except _DAMAGE as error:
        raise FileError(f"{path}: damaged, truncated or no file of skops ({type(error).__name__}: {error})") from error
    if unknown:
        raise FileError(f"{path}: has types that are not trusted, {', '.join(unknown)[:300]}; no code of a file is ever run")
    try:
        return from_sklearn(estimator)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _check_size(path: str | os.PathLike[str], content: bytes, most_bytes: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise FileError(f"{path}: damaged, truncated or no file of skops ({error})") from error
    if size > most_bytes:
        raise FileError(f"{path}: unpacks to {format_bytes(size)}; allowed are {format_bytes(most_bytes)}; a larger most_bytes allows it")
