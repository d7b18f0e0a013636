"""Files of activations: HDF5, and the arrays of other programs."""

import h5py
import numpy as np
from form import FAILURE, USAGE, Case

from tests.experiments.tiny_data import rows, write_activations


def change_activations(folder, what, change, **extra):
    path = write_activations(folder / f"{what}.h5".replace(" ", "-"), rows(60), **extra)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replace(value, name="activations", **options):
    def change(file):
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return change


def put(value):
    def change(file):
        del file["activations"]
        file["activations"] = value

    return change


def virtual(file):
    layout = h5py.VirtualLayout((60, 24), "f4")
    layout[:] = h5py.VirtualSource("gone.h5", "activations", (60, 24))
    del file["activations"]
    file.create_virtual_dataset("activations", layout)


def external(file):
    del file["activations"]
    file.create_dataset("activations", (60, 24), "f4", external=[("gone.bin", 0, 5760)])


def poison(file):
    file["activations"][17, 5] = np.nan


# What it is, the commands beside `index` that refuse it, and what their line names.
HDF5 = {
    "no activations": (
        lambda f: f.move("activations", "acts"),
        "encode inspect",
        ("/activations",),
    ),
    "a virtual data set": (virtual, "encode inspect train", ("/activations", "virtual", "gone.h5")),
    "an external data set": (external, "encode inspect", ("/activations", "gone.bin")),
    "a link to another file": (
        put(h5py.ExternalLink("gone.h5", "/activations")),
        "encode inspect eval",
        ("/activations", "link", "gone.h5"),
    ),
    "a link to nothing": (
        put(h5py.SoftLink("/nobody")),
        "encode",
        ("/activations", "link", "/nobody"),
    ),
    "a type": (put(np.dtype("f4")), "encode inspect train", ("/activations",)),
    "a group": (
        lambda f: (
            put(h5py.SoftLink("/x"))(f),
            f.__delitem__("activations"),
            f.create_group("activations"),
        ),
        "encode inspect",
        ("/activations",),
    ),
    "one dimension": (replace(np.zeros(9, "f4")), "encode inspect eval", ("/activations",)),
    "no dimension": (replace(np.float32(3)), "encode inspect", ("/activations",)),
    "four dimensions": (
        replace(np.zeros((2, 3, 4, 5), "f4")),
        "encode inspect train",
        ("/activations",),
    ),
    "integers": (replace(np.zeros((9, 24), "i4")), "encode inspect", ("/activations",)),
    "texts": (replace(np.array([[b"a"] * 24] * 9)), "encode inspect eval", ("/activations",)),
    "compounds": (
        replace(np.zeros((9, 24), [("a", "f4"), ("b", "i4")])),
        "encode",
        ("/activations",),
    ),
    "complex numbers": (replace(np.zeros((9, 24), "c8")), "encode train", ("/activations",)),
    "no rows": (replace(np.zeros((0, 24), "f4")), "", ("/activations", "0")),
    "no columns": (replace(np.zeros((9, 0), "f4")), "encode eval", ("/activations", "0")),
    "a row that is not finite": (poison, "encode", ("row 17", "column 5")),
    "too few documents": (
        replace(np.zeros(59, "i8"), "document"),
        "train",
        ("/document", "59", "60"),
    ),
    "documents in two dimensions": (
        replace(np.zeros((60, 2), "i8"), "document"),
        "",
        ("/document",),
    ),
    "labels beyond their classes": (
        lambda f: (
            replace(np.full(60, 7, "i4"), "labels/a")(f),
            f["labels/a"].attrs.__setitem__("classes", ["x"]),
        ),
        "",
        ("labels/a", "7"),
    ),
    "a hook of other length": (
        replace(np.zeros((59, 24), "f4"), "hooks/a"),
        "",
        ("/hooks/a", "59"),
    ),
}


def hdf5_cases(folder, world):
    out = ["--out", "OUT"]
    uses = {
        "index": lambda path: [path, *out],
        "encode": lambda path: [world["dict"], path, *out],
        "inspect": lambda path: [path],
        "train": lambda path: [world["c.yaml"], *out, "--set", f"data.path={path}"],
        "eval": lambda path: [world["dict"], "--data", path, *out, "--tasks", "core"],
    }
    for what, (change, commands, says) in HDF5.items():
        path = change_activations(folder, what, change)
        for command in ["index", *commands.split()]:
            # `inspect` reads the header alone: it names the file and the array.
            said = says[:0] if command == "inspect" else says
            yield command, Case(what, uses[command](path), FAILURE, (path.name, *said))
    good = (world["shards"] / "x.h5").read_bytes()
    for share in (0.01, 0.5, 0.99):
        path = folder / f"cut-{share}.h5"
        path.write_bytes(good[: int(len(good) * share)])
        yield "index", Case(f"cut at {share}", [path, "--out", "OUT"], FAILURE, (path.name,))
    path = change_activations(folder, "other width", replace(np.zeros((9, 23), "f4")))
    arguments = [world["dict"], path, "--out", "OUT"]
    yield "encode", Case("other width", arguments, USAGE, (path.name, "d = 23", "d = 24"))


def foreign_cases(folder, world):
    np.save(folder / "good.npy", rows(20))
    good = (folder / "good.npy").read_bytes()
    files = {
        "a-cut.npy": good[:-8],
        "a-header.npy": good[:9],
        "a-prose.npy": b"no array at all",
        "a-python.npy": good.replace(b"'<f4'", b"'|O8'"),
        "a-columns.npy": good.replace(b"(20, 24)", b"(20, 25)"),
        "a-order.npy": good.replace(b"False", b"True "),
        "b-cut.safetensors": (200).to_bytes(8, "little") + b'{"x": {"dtype": "F32"',
        "b-empty.safetensors": (2).to_bytes(8, "little") + b"{}",
        "b-prose.safetensors": b"no tensors at all, none",
        "c-prose.arrow": b"no cache at all",
        "c-cut.arrow": b"ARROW1\0\0" + b"\xff" * 30,
        "d-text.csv": b"text\nabc\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        status = USAGE if name == "b-empty.safetensors" else FAILURE  # --tensor could choose
        yield "index", Case(name, [folder / name, "--out", "OUT"], status, (name,))
    arguments = [folder / "good.npy", world["x"], "--out", "OUT"]
    yield "index", Case("two kinds at once", arguments, USAGE, ("index",))
    arguments = [world["x"], "--tensor", "x", "--out", "OUT"]
    yield "index", Case("--tensor for HDF5", arguments, USAGE, ("--tensor",))
    arguments = [folder / "good.npy", "--dtype", "f12", "--out", "OUT"]
    yield "index", Case("an unknown --dtype", arguments, USAGE, ("f12",))
