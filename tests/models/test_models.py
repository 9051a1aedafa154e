"""Models: seeded sizes, their file, and the digits that ship with the package."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlbench
from mlbench.errors import FileError, ModelError
from mlbench.models import Digits, Layer, Model, load_digits_mlp, mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner
from support.exhaustive import tries
from support.strategies import models, models_with_huge_biases

Arrays = dict[str, npt.NDArray[np.generic]]


def _same(one: Model, other: Model) -> bool:
    return (one.name, len(one.layers)) == (other.name, len(other.layers)) and all(
        mine.activation == its.activation
        and np.array_equal(mine.weight, its.weight, equal_nan=True)
        and np.array_equal(mine.bias, its.bias, equal_nan=True)
        for mine, its in zip(one.layers, other.layers, strict=True)
    )


def _layer(inputs: int, outputs: int, activation: str = "relu") -> Layer:
    return Layer(np.ones((inputs, outputs), np.float32), np.zeros(outputs, np.float32), activation)


# --- mlp ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "sizes", "name"),
    [
        pytest.param(8, (8,), "4-8-2", id="one-hidden"),
        pytest.param((8, 6), (8, 6), "4-8-6-2", id="two-hidden"),
        pytest.param((), (), "4-2", id="none-hidden"),
        pytest.param(np.int64(8), (8,), "4-8-2", id="numpy-integer"),
    ],
)
def test_sizes_of_an_mlp(hidden: Any, sizes: tuple[int, ...], name: str) -> None:
    """Inputs, hidden columns and outputs are what was asked for, and the name says so."""
    model = mlp(inputs=4, hidden=hidden, outputs=2)
    assert (4, sizes, 2, name) == (model.inputs, model.hidden, model.outputs, model.name)
    widths = (4, *sizes, 2)
    assert 4 * sum((one + 1) * other for one, other in pairwise(widths)) == model.parameter_bytes


def test_activations_of_an_mlp() -> None:
    """Every hidden layer has the activation, the last one the output activation."""
    model = mlp(hidden=(8, 6), activation="tanh", output_activation="softmax")
    assert [layer.activation for layer in model.layers] == ["tanh", "tanh", "softmax"]


def test_a_seed_gives_one_model() -> None:
    """The same seed gives the same numbers on every machine, another seed others."""
    assert _same(mlp(seed=3), mlp(seed=3))
    assert not np.array_equal(mlp(seed=3).layers[0].weight, mlp(seed=4).layers[0].weight)
    expected = np.random.default_rng(3).standard_normal((2, 3)) * np.sqrt(2 / 2)
    assert np.array_equal(expected.astype(np.float32), mlp(2, 3, 1, seed=3).layers[0].weight)


def test_weights_have_the_deviation_of_he() -> None:
    """Weights are normal with a deviation of sqrt(2 / inputs), biases with 0.1."""
    layer = mlp(inputs=200, hidden=2000, outputs=1).layers[0]
    assert layer.weight.std() == pytest.approx(0.1, rel=0.01)
    assert layer.bias.std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param({"inputs": 0}, "found 0", id="no-inputs"),
        pytest.param({"outputs": 0}, "found 0", id="no-outputs"),
        pytest.param({"hidden": (8, 0)}, "found 0", id="no-hidden-columns"),
        pytest.param({"hidden": -1}, "found -1", id="negative"),
        pytest.param({"inputs": 2.5}, "found 2.5", id="fraction"),
        pytest.param({"hidden": 256.0}, "256.0", id="hidden-is-a-float"),
        pytest.param({"hidden": (8.0,)}, "found 8.0", id="hidden-has-a-float"),
        pytest.param({"activation": "gelu"}, "activation 'gelu'; expected one of identity, relu", id="unknown-activation"),
        pytest.param({"activation": "softmax"}, "activation 'softmax'; expected one of", id="softmax-in-the-middle"),
        pytest.param({"output_activation": "gelu"}, "activation 'gelu'; expected one of", id="unknown-output-activation"),
    ],
)
def test_what_makes_no_mlp_is_refused(arguments: dict[str, Any], found: str) -> None:
    """Sizes below 1, sizes that are no whole numbers and unknown activations are refused with what was found."""
    with pytest.raises(ModelError) as caught:
        mlp(**arguments)
    assert found in str(caught.value)


# --- layers -------------------------------------------------------------------------------------------------------------

ODD_LAYERS = {
    "none": ((), "found no layers"),
    "rank-1-weight": ((Layer(np.ones(3, np.float32), np.ones(3, np.float32)),), "layer 0: weight has shape (3,)"),
    "empty-weight": ((_layer(0, 3),), "layer 0: weight has shape (0, 3)"),
    "long-bias": ((Layer(np.ones((2, 3), np.float32), np.ones(4, np.float32)),), "layer 0: bias has shape (4,); expected (3,)"),
    "float64": ((Layer(np.ones((2, 3)), np.ones(3)),), "layer 0: float64 weight, float64 bias; expected float32"),  # type: ignore[arg-type]
    "float64-bias": ((Layer(np.ones((2, 3), np.float32), np.ones(3)),), "float32 weight, float64 bias"),  # type: ignore[arg-type]
    "softmax-in-the-middle": ((_layer(2, 3, "softmax"), _layer(3, 2)), "layer 0: activation 'softmax'"),
    "chain-that-breaks": ((_layer(2, 3), _layer(4, 2)), "layer 1: takes 4 columns; layer 0 gives 3"),
}  # fmt: skip


@pytest.mark.parametrize(("layers", "message"), ODD_LAYERS.values(), ids=ODD_LAYERS)
def test_layers_that_do_not_fit_are_refused(layers: tuple[Layer, ...], message: str) -> None:
    """The message names the layer, what was found and what fits."""
    with pytest.raises(ModelError) as caught:
        Model("m", layers)
    assert message in str(caught.value)


def test_a_model_keeps_copies_that_nobody_can_write() -> None:
    """Changing the array a model was made from does not change the model, and the model's own is read-only."""
    weight = np.ones((2, 3), np.float32)
    model = Model("m", (Layer(weight, np.zeros(3, np.float32)),))
    weight[:] = 7
    assert model.layers[0].weight.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        model.layers[0].weight[0, 0] = 7


# --- the file -----------------------------------------------------------------------------------------------------------


@given(st.one_of(models(), models_with_huge_biases()))
def test_a_model_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, model: Model) -> None:
    """Whatever its depth, activations and numbers, NaN and infinities included, save and load give the same model."""
    path = tmp_path_factory.getbasetemp() / "model.npz"
    assert path == model.save(path)
    assert _same(model, Model.load(str(path)))


def test_a_name_in_any_script_comes_back(tmp_path: Path) -> None:
    """A model's name is text."""
    path = Model("Zähler 数字", mlp().layers).save(tmp_path / "model.npz")
    assert Model.load(path).name == "Zähler 数字"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the file of a small model."""
    return mlp(inputs=3, hidden=4, outputs=2).save(tmp_path / "model.npz")


def _arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _refused(path: Path, reason: str) -> None:
    with pytest.raises(FileError) as caught:
        Model.load(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def _without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def _with(**changes: npt.ArrayLike) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: np.asarray(array) for name, array in changes.items()}


FOREIGN: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "another-format": (_with(format="other"), "its format is 'other'; expected 'mlbench-model'"),
    "no-format": (_without("format"), "its format is 'None'; expected 'mlbench-model'"),
    "another-version": (_with(version=2), "its version is 2; this mlbench reads version 1"),
    "no-version": (_without("version"), "'version' is missing"),
    "no-name": (_without("name"), "['name'] missing or too many"),
    "no-activations": (_without("activations"), "'activations' is missing"),
    "no-bias": (_without("bias1"), "['bias1'] missing or too many"),
    "no-weight": (_without("weight0"), "['weight0'] missing or too many"),
    "one-array-more": (_with(extra=1), "['extra'] missing or too many"),
    "one-layer-more": (_with(weight2=np.ones((2, 2), np.float32)), "['weight2'] missing or too many"),
    "float64-weight": (_with(weight0=np.ones((3, 4))), "layer 0: float64 weight"),
    "other-byte-order": (_with(weight0=np.ones((3, 4), ">f4")), "layer 0: >f4 weight"),
    "text-as-bias": (_with(bias1=["a", "b"]), "layer 1: float32 weight, <U1 bias"),
    "unknown-activation": (_with(activations=["gelu", "identity"]), "layer 0: activation 'gelu'"),
    "no-layers": (_with(activations=np.array([], "U8")), "missing or too many"),
    "layers-that-do-not-fit": (_with(weight1=np.ones((5, 2), np.float32)), "layer 1: takes 5 columns; layer 0 gives 4"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_an_archive_that_is_no_model_is_refused(saved: Path, change: Callable[[Arrays], Arrays], reason: str) -> None:
    """Whatever does not belong to a model of this version is refused with the path and the reason."""
    np.savez(saved, **change(_arrays(saved)))  # type: ignore[arg-type]
    _refused(saved, reason)


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_file_is_refused(saved: Path, tenth: int) -> None:
    """Cut at any tenth of its length, a file is refused, the empty one included."""
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) * tenth // 10])
    _refused(saved, "damaged, truncated or no .npz archive")


def test_a_file_without_its_last_byte_is_refused(saved: Path) -> None:
    """The last byte of an archive is needed."""
    saved.write_bytes(saved.read_bytes()[:-1])
    _refused(saved, "damaged, truncated")


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_refused_or_changes_nothing(saved: Path, bit: int) -> None:
    """Wherever a bit is flipped, the file is refused with its path, or (in a date, say) the model is as it was."""
    content = saved.read_bytes()
    whole = Model.load(saved)
    refusals = 0
    step = tries(17, 3)
    for place in range(bit, len(content), step):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        saved.write_bytes(damaged)
        try:
            assert _same(whole, Model.load(saved))
        except FileError as error:
            refusals += 1
            assert str(saved) in str(error)  # noqa: PT017  # which files are refused is not known before
    assert refusals > len(content) // (2 * step)


@pytest.mark.parametrize(
    "flag",
    [pytest.param(0x0001, id="encrypted"), pytest.param(0x0020, id="patched"), pytest.param(0x0040, id="strongly-encrypted")],
)
def test_an_archive_that_python_cannot_open_is_refused(saved: Path, flag: int) -> None:
    """A ZIP feature that Python does not know, or a password, is refused like any damage."""
    content = bytearray(saved.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(signature, place + 1)) >= 0:
            content[place + offset] |= flag
    saved.write_bytes(content)
    _refused(saved, "damaged, truncated or no .npz archive")


def test_a_header_that_promises_petabytes_is_refused(tmp_path: Path) -> None:
    """A damaged shape that no memory can hold is damage, not a MemoryError."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**15,)})
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight0.npy", header.getvalue())
    _refused(path, "damaged, truncated or no .npz archive")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    """A file that is no archive at all is refused as what it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a model\n")
    _refused(path, "no .npz archive")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    """A .npy file holds one array; a model is an archive."""
    path = tmp_path / "array.npy"
    np.save(path, np.ones(3))
    _refused(path, "a single array; expected an .npz archive")


def test_the_archive_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """An .npz that mlbench did not write is refused by its format."""
    path = tmp_path / "other.npz"
    np.savez(path, a=np.ones(3))
    _refused(path, "its format is 'None'")


def test_a_zip_without_arrays_is_refused(tmp_path: Path) -> None:
    """A ZIP archive of text is no model."""
    path = tmp_path / "text.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    _refused(path, "found 'readme.txt'; expected arrays alone")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path without a file says so."""
    _refused(tmp_path / "none.npz", "no such file")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is no file."""
    _refused(tmp_path, "")


class _Bomb:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["format", "weight0", "activations", "extra"])
def test_a_pickled_object_is_refused_and_never_runs(saved: Path, name: str) -> None:
    """An archive with a pickled object in any of its arrays is refused, and the object's code does not run."""
    trace = saved.parent / "trace"
    np.savez(saved, **(_arrays(saved) | {name: np.array([_Bomb(trace)], dtype=object)}))
    _refused(saved, "allow_pickle=False")
    assert not trace.exists()


def test_a_bare_pickle_is_refused_and_never_runs(tmp_path: Path) -> None:
    """A file that is one pickle is refused, and its code does not run."""
    path, trace = tmp_path / "model.npz", tmp_path / "trace"
    path.write_bytes(pickle.dumps(_Bomb(trace)))
    _refused(path, "")
    assert not trace.exists()


def test_the_bomb_of_these_tests_is_live(tmp_path: Path) -> None:
    """The object does leave a trace when something unpickles it, so its absence above means something."""
    pickle.loads(pickle.dumps(_Bomb(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


# --- digits -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Digits]:
    """Return the trained model and its held-out images."""
    return load_digits_mlp()


def test_the_digits_have_their_shapes_and_ranges(digits: tuple[Model, Digits]) -> None:
    """64-128-10; 360 images of 64 pixels from 0 to 1; labels 0 to 9."""
    model, held_out = digits
    assert (model.inputs, model.hidden, model.outputs) == (64, (128,), 10)
    images, labels = held_out.images, held_out.labels
    assert (images.shape, images.dtype.name, float(images.min()), float(images.max())) == ((360, 64), "float32", 0.0, 1.0)
    assert ((360,), "int64", set(range(10))) == (labels.shape, labels.dtype.name, set(labels.tolist()))


def test_the_digits_model_knows_its_digits(digits: tuple[Model, Digits]) -> None:
    """At least 96 % of the held-out images get their label."""
    model, held_out = digits
    assert (BaselineRunner(model).run(held_out.images).argmax(axis=1) == held_out.labels).mean() >= 0.96


@pytest.mark.parametrize("batch", [1, 7, 360])
def test_both_runners_read_every_digit_alike(digits: tuple[Model, Digits], batch: int) -> None:
    """On every held-out image both runners give the same label, whatever the batch."""
    model, held_out = digits
    fast = OptimizedRunner(model, max_batch=batch)
    parts = [held_out.images[first : first + batch] for first in range(0, 360, batch)]
    labels = np.concatenate([fast.run(part).argmax(axis=1) for part in parts])
    assert np.array_equal(BaselineRunner(model).run(held_out.images).argmax(axis=1), labels)


def test_the_shipped_data_are_small() -> None:
    """The files that ship with the package take at most 300 KB."""
    files = [entry for entry in (resources.files("mlbench.models") / "data").iterdir() if entry.is_file()]
    assert sum(len(entry.read_bytes()) for entry in files) <= 300 * 1024


# --- the package --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", mlbench.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """What the package lists, it has."""
    assert getattr(mlbench, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    """A misspelled name fails like in any module."""
    with pytest.raises(AttributeError, match="module 'mlbench' has no attribute 'OptimisedRunner'"):
        mlbench.OptimisedRunner  # noqa: B018  # the look-up is what is tested


def test_the_digits_have_no_subnormal_parameter() -> None:
    """A subnormal weight takes many processors a hundred times as long, and would be all that is measured."""
    model, _ = load_digits_mlp()
    for array in (array for layer in model.layers for array in (layer.weight, layer.bias)):
        assert not ((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny)).any()
