"""Makes the golden ids that the tests compare `tokenize` with, by Hugging Face's tokenizers for Python.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-data.txt
    python tests/golden/tokens.py [FOLDER WITH all-MiniLM-L6-v2/tokenizer.json]

golden/tokens/bpe.json, wordpiece.json  two small tokenizers, trained below on a text of 1865 (Lewis Carroll, "Alice's Adventures
  in Wonderland"): bytes in pairs as in GPT-2, and words in pieces as in BERT, with its marks.
golden/tokens/ids.json                  odd texts, and for each tokenizer the ids of `texts` as they are, of `cut` to 8 ids, of
  `plain` texts without marks, of `pairs` (each text with the one after it, cut to 12) with `kinds`, which text of the pair an id
  belongs to. `minilm` are those of all-MiniLM-L6-v2's tokenizer, which is not here: the test looks for it.
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GOLDEN = Path(__file__).parent / "tokens"

ALICE = """Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or
twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is the use
of a book," thought Alice "without pictures or conversations?"

So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and stupid), whether the
pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit
with pink eyes ran close by her.

There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say to
itself, "Oh dear! Oh dear! I shall be late!" (when she thought it over afterwards, it occurred to her that she ought to have
wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually took a watch out of its
waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind that she had
never before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it.
"""

TEXTS = [
    "",
    " ",
    "Alice ran after the white rabbit.",
    "  two  spaces\tand a tab ",
    "line one\nline two\r\nline three\n\n\n",
    "nul\0inside",
    "DON'T STOP, won't you? it's 3.14e-10%",
    "Füße über Ærøskøbing, naïve café",
    "combining: e\u0301 a\u0308 n\u0303o",
    "一个中文句子,没有空格。日本語のテキスト 한국어",
    "Привет, мир! γειά σου κόσμε",
    "שלום עולם مرحبا بالعالم",
    "emoji 😀👍🏽 👨‍👩‍👧‍👦 🇩🇪 end",
    "supercalifragilisticexpialidocious" * 8,
    "a" * 300,
    "https://example.org/a?b=c&d=%20#e",
    "zero\u200bwidth\u200djoiner\ufeffbom soft\u00adhyphen",
    "\u00a0no-break\u2003em space\u3000wide",
    "[CLS] marks [SEP] in [MASK] text <|endoftext|>",
    "math ∑∞ ∫ √2 ≤ π ½ ² ﬁ ligature",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 private \ue000 end",
    "quotes “curly” ‘single’ — dash … dots",
    "the end of a long text that goes on and on so that it has to be cut somewhere, whether it wants to or not",
]


def bpe():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False)
    made.train_from_iterator([ALICE], trainer)
    return made


def wordpiece():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=marks, show_progress=False)
    made.train_from_iterator([ALICE], trainer)
    cls, sep = made.token_to_id("[CLS]"), made.token_to_id("[SEP]")
    made.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    made.enable_padding(pad_id=made.token_to_id("[PAD]"))
    made.enable_truncation(64)
    return made


def ids(made):
    made.no_padding()
    as_they_are = [e.ids for e in made.encode_batch(TEXTS)]
    plain = [e.ids for e in made.encode_batch(TEXTS, add_special_tokens=False)]
    made.enable_truncation(8)
    cut = [e.ids for e in made.encode_batch(TEXTS)]
    made.enable_truncation(12)
    pairs = made.encode_batch(list(zip(TEXTS, TEXTS[1:])))
    return {
        "texts": as_they_are,
        "plain": plain,
        "cut": cut,
        "pairs": [e.ids for e in pairs],
        "kinds": [e.type_ids for e in pairs],
    }


def main():
    GOLDEN.mkdir(exist_ok=True)
    found = {}
    for name, made in [("bpe", bpe()), ("wordpiece", wordpiece())]:
        path = GOLDEN / f"{name}.json"
        path.write_text(made.to_str(pretty=False))
        found[name] = ids(Tokenizer.from_file(str(path)))
    old = GOLDEN / "ids.json"
    if len(sys.argv) > 1:
        found["minilm"] = ids(Tokenizer.from_file(str(Path(sys.argv[1]) / "all-MiniLM-L6-v2" / "tokenizer.json")))
    elif old.exists():
        found["minilm"] = json.loads(old.read_text())["minilm"]
    lines = [f" {json.dumps('corpus')}: {json.dumps(TEXTS)}"]
    for name, kinds in found.items():
        inner = ",\n".join(f"  {json.dumps(kind)}: {json.dumps(rows, separators=(',', ':'))}" for kind, rows in kinds.items())
        lines.append(f" {json.dumps(name)}: {{\n{inner}\n }}")
    old.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
