"""Labelled activations of one's own, in HDF5: a small image classifier's hidden layer, nothing to do with text.

    python experiments/own_data/digits.py --out DIGITS.h5

scikit-learn's 1,797 digits, and the same images moved by one pixel, go through a multilayer perceptron that was trained
on half of them; its first hidden layer is written row by row with the labels `digit` and `version` (clean, moved). An
image is a text of one row and a document together with its moved copy, so training and test parts never share it.
"""

import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from safe_write import write_beside  # noqa: E402
from tool import Parser, as_tool  # noqa: E402


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    args = parser.parse_args()
    images, digit = load_digits(return_X_y=True)
    images = images / 16
    model = MLPClassifier((64, 32), max_iter=60, random_state=0, early_stopping=False, tol=0)
    warnings.simplefilter("ignore")  # 60 passes are enough for a hidden layer to look at
    model.fit(images[::2], digit[::2])
    moved = np.roll(images.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
    hidden = [np.maximum(0, x @ model.coefs_[0] + model.intercepts_[0]) for x in (images, moved)]
    count = len(images)
    with write_beside(args.out) as part, h5py.File(part, "w") as file:
        file["activations"] = np.concatenate(hidden).astype(np.float32)
        file["document"] = np.tile(np.arange(count), 2)
        file["text"] = np.arange(2 * count)
        label(file, "digit", np.tile(digit, 2), [str(i) for i in range(10)])
        label(file, "version", np.repeat([0, 1], count), ["clean", "moved"])
    print(f"wrote {args.out}: {2 * count} rows of {hidden[0].shape[1]}")


def label(file, name, values, classes):
    file[f"labels/{name}"] = values.astype(np.int32)
    file[f"labels/{name}"].attrs["classes"] = classes


if __name__ == "__main__":
    main()
