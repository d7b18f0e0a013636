"""Cuts a sentence encoder or a causal language model at layer L into two halves that `assay` loads.

    python data/python/export_halves.py --layer 4 --out models/minilm-l4

  lower: ids [B, T] int64, mask [B, T] int64  ->  residual stream after layer L, [B, T, d] fp32
  upper: residual [B, T, d] fp32, mask        ->  sentence embedding [B, d_out] fp32; of a causal language model
         residual, ids, mask                  ->  loss of each token [B, T] fp32, nats, given those before it
  of a causal language model also, as TorchScript alone:
  next:  residual, mask                       ->  logits of the token behind each text's last [B, vocabulary] fp32
  lens:  x [N, d]                             ->  the logit lens: last norm and unembedding, [N, vocabulary] fp32

Each half is written twice: NAME.pt2 (torch.export + AOTInductor, forward only, fast) and NAME.ts.pt (traced
TorchScript, differentiable). Both are compared with the eager model on ragged batches of several shapes; a difference
above the tolerance fails the export. manifest.json describes the folder, and its hash is entered into the user's trust
list: `assay` runs no half whose manifest is not on that list.
"""

import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import model_source
from model_source import sha256_file
from safe_write import say
from tool import Parser, SourceError, as_tool, integer, make_folder, read_json

FORMAT_VERSION = 1
TOLERANCE = 2e-4  # max |difference|, relative to a token's largest value; fp32 kernels differ in summation order only
FILES = {
    "lower_compiled": "lower.pt2",
    "lower_script": "lower.ts.pt",
    "upper_compiled": "upper.pt2",
    "upper_script": "upper.ts.pt",
}
WORD_FILES = {"next_script": "next.ts.pt", "lens_script": "lens.ts.pt"}  # of causal language models
TOKENIZER_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "config.json",
    "sentence_bert_config.json",
]
# What a compiler may use when it compiles for this machine.
CPU_FLAGS = """
sse4_1 sse4_2 avx f16c fma avx2 bmi1 bmi2 avx512f avx512bw avx512dq avx512vl avx512cd avx512ifma avx512vbmi
avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_bf16 avx512_fp16 avx512_vp2intersect avx_vnni amx_tile
amx_int8 amx_bf16 gfni vaes vpclmulqdq""".split()


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "--model",
        default=model_source.DEFAULT_PACKAGE,
        help=f"model folder, hub name, or {model_source.DEFAULT_PACKAGE} (default: this package)",
    )
    parser.add_argument("--revision", help="hub revision")
    parser.add_argument(
        "--layer",
        type=integer(1),
        default=4,
        help="residual stream after this many layers (default 4)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--pooling", choices=["mean", "cls"], help="default: what the model's own 1_Pooling says"
    )
    parser.add_argument(
        "--normalise", choices=["yes", "no"], help="default: what the model's own modules.json says"
    )
    args = parser.parse_args()
    export(args)


def export(args):
    started = time.time()
    require_replaceable(args.out)
    source = model_source.find_model(args.model, args.revision)
    model_source.tokenizer_hash(source.folder)  # missing: said before minutes of compiling
    import torch
    from causal_halves import is_causal, load_causal_halves
    from halves import load_halves

    warnings.filterwarnings("ignore")  # torch's and transformers' own; parity is checked below
    torch.set_num_threads(1)
    if not is_causal(source.folder):
        halves = load_halves(source.folder, args.layer, args.pooling, args.normalise)
    elif args.pooling or args.normalise:
        raise SourceError(
            f"{source.name} is a causal language model: --pooling and --normalise have no meaning"
        )
    else:
        halves = load_causal_halves(source.folder, args.layer)
    say(f"{source.name}: layer {args.layer} of {halves.layers}, d {halves.d} -> {halves.output}")
    make_folder(args.out.parent)
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=".export-") as staging:
        folder = Path(staging) / "halves"
        folder.mkdir()
        write_halves(halves, folder)
        differences = check_parity(halves, folder)
        for name in TOKENIZER_FILES:
            if (source.folder / name).is_file():
                shutil.copyfile(source.folder / name, folder / name)
        manifest = describe(source, args.layer, halves, folder, differences)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        require_replaceable(args.out)  # minutes have passed
        if args.out.exists():
            shutil.rmtree(args.out)
        folder.rename(args.out)
    trusted = trust(args.out / "manifest.json")
    say(f"wrote {args.out} in {time.time() - started:.0f} s; trusted by {trusted}")


def require_replaceable(out):
    """The folder is replaced whole: it may only be an exported model, or empty."""
    if not out.exists():
        return
    manifest = read_json(out / "manifest.json", default={})
    if manifest.get("format") != "assay-model-halves" and any(out.iterdir()):
        raise SourceError(f"{out}: exists and holds no exported model; choose another --out")


def write_halves(halves, folder):
    import torch
    import torch._inductor.config as inductor
    from halves import forward_only

    batch, length = (
        torch.export.Dim("batch", min=1, max=8192),
        torch.export.Dim("length", min=1, max=halves.max_length),
    )
    ids, mask = halves.example()
    with torch.no_grad():
        above = halves.upper_inputs(halves.lower(ids, mask).contiguous(), ids, mask)
    # Each worker of the harvester runs a batch of its own: serial kernels, so that bits do not depend on threads.
    options = {"max_autotune": False, "cpp.threads": 1}
    for name, module, inputs in (
        ("lower", halves.lower, (ids, mask)),
        ("upper", halves.upper, above),
    ):
        start = time.time()
        dynamic = tuple({0: batch, 1: length} for _ in inputs)
        with torch.no_grad():
            traced = torch.jit.trace(module, inputs, check_trace=False)
            traced.save(str(folder / FILES[name + "_script"]))
            program = torch.export.export(forward_only(module), inputs, dynamic_shapes=dynamic)
            with inductor.patch(options):
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(folder / FILES[name + "_compiled"])
                )
        say(f"{name}: compiled and traced in {time.time() - start:.0f} s")
    for name, (module, inputs) in halves.to_vocabulary().items():
        with torch.no_grad():
            torch.jit.trace(module, inputs, check_trace=False).save(
                str(folder / WORD_FILES[name + "_script"])
            )


def check_parity(halves, folder):
    """Max |exported - eager| over ragged batches, among them one row and one token."""
    import torch

    files = files_of(halves)
    worst = dict.fromkeys(files, 0.0)
    loaded = {
        key: (
            torch.jit.load(str(folder / file))
            if file.endswith(".ts.pt")
            else torch._inductor.aoti_load_package(str(folder / file))
        )
        for key, file in files.items()
    }
    with torch.no_grad():
        for batch, length in ((5, 17), (1, 1), (1, 9), (3, 1), (64, 40), (2, halves.max_length)):
            ids, mask = halves.example(batch, min(length, halves.max_length))
            residual, output = halves.eager(ids, mask)
            keep = mask.bool()
            for kind in ("compiled", "script"):
                lower = loaded["lower_" + kind](ids, mask)
                upper = loaded["upper_" + kind](*halves.upper_inputs(residual, ids, mask))
                far = (lower - residual).abs().amax(-1) / residual.abs().amax(-1).clamp(min=1)
                worst["lower_" + kind] = max(worst["lower_" + kind], far[keep].max().item())
                worst["upper_" + kind] = max(
                    worst["upper_" + kind], (upper - output).abs().max().item()
                )
            for name, (inputs, logits) in halves.eager_to_vocabulary(ids, mask).items():
                far = (loaded[name + "_script"](*inputs) - logits).abs().amax(
                    -1
                ) / logits.abs().amax(-1).clamp(min=1)
                worst[name + "_script"] = max(worst[name + "_script"], far.max().item())
    for key, difference in worst.items():
        say(f"{files[key]}: max |difference| from the eager model {difference:.2e}")
        if not difference <= TOLERANCE:
            raise SourceError(
                f"{files[key]} differs from the eager model by {difference:.2e}, allowed {TOLERANCE:.0e}"
            )
    return worst


def files_of(halves):
    return {**FILES, **WORD_FILES} if halves.to_vocabulary() else FILES


def describe(source, layer, halves, folder, differences):
    import torch

    return {
        "format": "assay-model-halves",
        "format_version": FORMAT_VERSION,
        "model": source.name,
        "revision": source.revision,
        "layer": layer,
        "layers": halves.layers,
        "d": halves.d,
        "d_out": halves.d_out,
        "max_length": halves.max_length,
        "vocabulary": halves.vocabulary,
        "prepend_bos": False,
        "tokenizer_file": "tokenizer.json",
        "tokenizer_hash": model_source.tokenizer_hash(source.folder),
        "torch_version": torch.__version__.split("+")[0],
        "machine": platform.machine(),
        "cpu_flags": cpu_flags(),
        "output": halves.output,
        "pooling": halves.pooling,
        "normalise": halves.normalise,
        "files": {
            key: {
                "name": file,
                "sha256": sha256_file(folder / file),
                "max_difference": differences[key],
            }
            for key, file in files_of(halves).items()
        },
    }


def cpu_flags():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            present = set(line.split(":", 1)[1].split())
            return [flag for flag in CPU_FLAGS if flag in present]
    raise SourceError("/proc/cpuinfo names no CPU flags: this machine is not supported")


def trust(manifest):
    """Enters the manifest's hash into the user's list: exporting a model is what makes its code one's own."""
    path = Path(
        os.environ.get("ASSAY_TRUST_FILE")
        or Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        / "assay"
        / "trusted-models"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = sha256_file(manifest)
    if not path.exists() or digest not in path.read_text().split():
        with open(path, "a") as file:
            file.write(digest + "\n")
    return path


if __name__ == "__main__":
    main()
