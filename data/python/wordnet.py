"""Reads WordNet 3.0 (Debian's wordnet-base) into a corpus: one JSON a line.

    python data/python/wordnet.py --out corpus/wordnet.jsonl

Each line is {"text", "document", "labels": {"category", "part_of_speech", "format", "synset"}}. A synset's definition
and each of its usage examples are texts of their own (format: definition, example). category is the lexicographer file
(45 of them, noun.animal ...); document is the synset's first lemma, so that a split by document never parts a word's
texts; synset is the number WordNet's Prolog files give it (1 noun, 2 verb, 3 adjective, 4 adverb, then the offset).

--limit takes a seeded subset (70,000 texts unless told otherwise; 0 = all): first every example of nouns and verbs,
because probing tests on the examples of each noun category and needs as many as there are; the rest is drawn evenly
from all other texts. The order is shuffled by the seed.
"""

import json
import random
import re
from pathlib import Path

from safe_write import guard, say, write_beside
from tool import Parser, SourceError, as_tool, integer

CATEGORIES = """adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body
noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object
noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state
noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption
verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative
verb.weather adj.ppl""".split()
PARTS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
QUOTED = re.compile(r'"([^"]+)"')


def split_gloss(gloss):
    """'definition; "example"; "example" - author' -> definition, [examples]. Quotes within the definition stay."""
    start = re.search(r';\s*"', gloss)
    if start is None:
        return gloss.strip(), []
    examples = [text.strip() for text in QUOTED.findall(gloss[start.start() :])]
    return gloss[: start.start()].strip(), [text for text in examples if text]


def read_synsets(folder):
    for part, number in PARTS.items():
        file = folder / f"data.{part}"
        for line_number, line in enumerate(
            file.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        ):
            if line.startswith("  "):  # the licence
                continue
            head, bar, gloss = line.partition(" | ")
            fields = head.split()
            if (
                not bar
                or len(fields) < 5
                or not fields[0].isdigit()
                or not fields[1].isdigit()
                or int(fields[1]) >= len(CATEGORIES)
                or "\ufffd" in line
            ):
                raise SourceError(
                    f"{file}:{line_number}: not a line of WordNet 3.0's data; install wordnet-base again"
                )
            lemma = re.sub(r"\((a|p|ip)\)$", "", fields[4]).lower()
            yield (
                part,
                CATEGORIES[int(fields[1])],
                number * 100_000_000 + int(fields[0]),
                lemma,
                gloss,
            )


def read_texts(folder):
    texts = []
    for part, category, synset, lemma, gloss in read_synsets(folder):
        definition, examples = split_gloss(gloss)
        for kind, text in [("definition", definition)] * bool(definition) + [
            ("example", text) for text in examples
        ]:
            labels = {
                "category": category,
                "part_of_speech": part,
                "format": kind,
                "synset": synset,
            }
            texts.append({"text": text, "document": lemma, "labels": labels})
    return texts


def choose(texts, limit, seed):
    generator = random.Random(seed)
    generator.shuffle(texts)
    if not 0 < limit < len(texts):
        return texts
    labels = [(t, t["labels"]) for t in texts]
    first = [
        t
        for t, of in labels
        if of["format"] == "example" and of["part_of_speech"] in ("noun", "verb")
    ]
    chosen = {id(t) for t in first[:limit]}
    for text in texts:
        if len(chosen) == limit:
            break
        chosen.add(id(text))
    return [t for t in texts if id(t) in chosen]


def is_corpus(path):
    """What this tool writes: its first line is a text with labels."""
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            record = json.loads(file.readline(1 << 20))
        except ValueError:
            return False
    return isinstance(record, dict) and {"text", "labels"} <= record.keys()


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder with data.noun ..."
    )
    parser.add_argument("--out", type=Path, required=True, help="corpus to write (.jsonl)")
    parser.add_argument(
        "--limit", type=integer(0), default=70_000, help="texts; 0 = all (default 70000)"
    )
    parser.add_argument("--seed", type=integer(0), default=0)
    args = parser.parse_args()
    if not (args.wordnet / "data.noun").is_file():
        raise SourceError(
            f"{args.wordnet} holds no data.noun: install wordnet-base, or pass --wordnet FOLDER"
        )
    guard(args.out, args.wordnet.iterdir(), is_corpus)
    texts = choose(read_texts(args.wordnet), args.limit, args.seed)
    with write_beside(args.out) as path, open(path, "w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps(text, ensure_ascii=False) + "\n")
    examples = sum(t["labels"]["format"] == "example" for t in texts)
    say(
        f"wrote {args.out}: {len(texts)} texts ({len(texts) - examples} definitions, {examples} examples)"
    )


if __name__ == "__main__":
    main()
