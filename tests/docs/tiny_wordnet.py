"""What the documentation's commands are run on: a data set with the labels and texts of the quickstart's, but tiny."""

import h5py
import numpy as np

D, DOCUMENTS = 16, 100  # dimensions; documents of each class
THEMES = ["body", "cognition", "communication", "emotion", "possession", "consumption", "weather"]
NOUNS = ["body", "cognition", "communication", "feeling", "possession", "food", "phenomenon"]
OTHERS = ["animal", "artifact", "person", "plant", "time"]
CLASSES = [f"noun.{name}" for name in NOUNS + OTHERS] + [f"verb.{name}" for name in THEMES]
WORDS = "a thing that one has; (rare) act of being in 12 kinds, such as new or old".split()


def write_rows(path, x):
    with h5py.File(path, "w") as f:
        f["activations"], f["special"] = x, np.zeros(len(x), np.uint8)


def write(folder):
    """folder/shard-00000.h5 and folder/texts.h5. A document has a definition and an example; a class has a direction
    (a theme's noun and verb share it), and so has the format."""
    rng = np.random.default_rng(0)
    theme = [i if i < 12 else i - 12 for i in range(len(CLASSES))]
    directions = rng.standard_normal((13, D)) * 0.7
    document = np.repeat(np.arange(len(CLASSES) * DOCUMENTS), 2)  # of each text
    document = document.reshape(-1, 2)[rng.permutation(len(document) // 2)].ravel()
    kind, form = document // DOCUMENTS, np.tile([0, 1], len(document) // 2)
    length = rng.integers(3, 9, len(document))
    text = np.repeat(np.arange(len(document)), length)
    position = np.arange(len(text)) - np.repeat(np.cumsum(length) - length, length)
    x = rng.standard_normal((len(text), D)) + directions[np.array(theme)[kind[text]]]
    x += directions[12] * form[text, None]
    labels = {
        "category": (kind, CLASSES),
        "format": (form, ["definition", "example"]),
        "part_of_speech": ((kind >= 12).astype(int), ["noun", "verb"]),
    }
    with h5py.File(folder / "shard-00000.h5", "w") as f:
        f["activations"] = x.astype(np.float32)
        f["document"], f["text"] = document[text], text
        f["position"] = position.astype(np.int32)
        f["special"] = (position == 0).astype(np.uint8)
        for name, (values, classes) in labels.items():
            f[f"labels/{name}"] = values[text].astype(np.int32)
            f[f"labels/{name}"].attrs["classes"] = classes
    said = [" ".join(rng.choice(WORDS, n)) + "?" * rng.integers(2) for n in length]
    said = [s.capitalize() if rng.integers(2) else s for s in said]
    with h5py.File(folder / "texts.h5", "w") as f:
        f["text_bytes"] = np.frombuffer("".join(said).encode(), np.uint8)
        f["text_offsets"] = np.cumsum([0] + [len(s.encode()) for s in said])
