"""Train the digits model that ships with mlbench, and write it beside its held-out images.

    python -m pip install scikit-learn
    python scripts/train_digits.py

Development only: the package needs NumPy alone. The split and the training are seeded; with the same scikit-learn and NumPy the
same files come out. The stored model was made with the versions that the script prints.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from mlbench import BaselineRunner
from mlbench.files import write_atomically
from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, Layer, Model

HIDDEN = 128
HELD_OUT = 360
FOLDER = Path(__file__).resolve().parents[1] / "src" / "mlbench" / "models" / "data"


def normal(numbers: npt.NDArray[np.float64]) -> FloatArray:
    """Return numbers as float32 without subnormal ones, which many processors multiply a hundred times slower.

    Weight decay leaves some behind where a pixel is always dark. They change no output, and the first product took six times as long.
    """
    single = numbers.astype(np.float32)
    return np.where(np.abs(single) < np.finfo(np.float32).tiny, np.float32(0), single)


def main() -> int:
    """Train, judge and write."""
    pixels, labels = load_digits(return_X_y=True)
    train, held_out, train_labels, held_out_labels = train_test_split(pixels, labels, test_size=HELD_OUT, random_state=0, stratify=labels)
    classifier = MLPClassifier((HIDDEN,), alpha=1e-2, max_iter=400, random_state=0)
    classifier.fit(train / 16, train_labels)
    activations = ["relu", IDENTITY]
    arrays = zip(classifier.coefs_, classifier.intercepts_, activations, strict=True)
    model = Model("digits", tuple(Layer(normal(w), normal(b), activation) for w, b, activation in arrays))
    logits = BaselineRunner(model).run((held_out / 16).astype(np.float32))
    accuracy = float((logits.argmax(axis=1) == held_out_labels).mean())
    print(f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}: accuracy {accuracy:.4f} on {HELD_OUT} held-out images")
    if accuracy < 0.96:
        print("below 0.96: nothing written")
        return 1
    content = io.BytesIO()
    np.savez_compressed(content, images=held_out.astype(np.uint8), labels=held_out_labels.astype(np.uint8))
    for path in (
        model.save(FOLDER / "digits_model.npz"),
        write_atomically(FOLDER / "digits_heldout.npz", content.getvalue()),
    ):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
