"""The same architecture and tokenizer with weights that never learnt: a control model to harvest from.

    python experiments/nulls/reinitialise.py --out MODEL [--model NAME] [--seed 0]
    python data/python/export_halves.py --model MODEL --layer 4 --out HALVES

Harvest the same corpus through HALVES, train with the same configuration, and pass the dictionary to
`assay eval --null-dictionary reinitialised=RUN`: what a dictionary finds in text statistics and architecture alone. It
is evaluated on the trained model's activations, like every other dictionary of the table.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
import model_source  # noqa: E402
from tool import Parser, SourceError, as_tool  # noqa: E402


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "--model", default=model_source.DEFAULT_PACKAGE, help="model folder, hub name or package"
    )
    parser.add_argument("--revision", help="hub revision")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    source = model_source.find_model(args.model, args.revision)
    import torch
    from transformers import AutoConfig, AutoModel

    if args.out.exists():
        raise SourceError(f"{args.out}: exists; choose another --out")
    config = model_source.load_pretrained(AutoConfig, source.folder)
    shutil.copytree(
        source.folder,
        args.out,
        ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "*.onnx", "*.h5"),
    )
    torch.manual_seed(args.seed)
    AutoModel.from_config(config).save_pretrained(args.out, safe_serialization=True)
    print(f"wrote {args.out}: {source.name} with fresh weights, seed {args.seed}")


if __name__ == "__main__":
    main()
