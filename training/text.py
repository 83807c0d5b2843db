"""The demos' tokenizers: each word of the painted world is one token, others are spelled."""

import json
import random
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from transformers import CLIPTokenizer, Qwen2Tokenizer

from safelight.models.demo.portrait import draw
from safelight.models.demo.wording import KINDS, PEOPLE, caption

LONGEST = 40  # tokens of an instruction
_WORDS = 700
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CAPTIONS = 3000


def corpus() -> Iterator[str]:
    """Yield sentences with every word of the painted world."""
    for kind in KINDS:
        for wording in kind.wordings:
            for they, them, their in PEOPLE:
                yield wording.format(they=they, them=them, their=their)
    chance = random.Random(0)
    for seed in range(_CAPTIONS):
        yield caption(draw(seed), chance)


def clip_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        letters = _letters()
        vocabulary = [
            *letters,
            *(f"{letter}</w>" for letter in letters),
            "<|startoftext|>",
            "<|endoftext|>",
        ]
        Path(folder, "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(vocabulary)}))
        Path(folder, "merges.txt").write_text("#version: 0.2\n")
        plain = CLIPTokenizer(
            f"{folder}/vocab.json", f"{folder}/merges.txt", model_max_length=LONGEST
        )
    return plain.train_new_from_iterator(corpus(), _WORDS)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Return a Qwen tokenizer, whose chat template makes a prompt a message."""
    vocabulary = {token: number for number, token in enumerate([*_letters(), "<|endoftext|>"])}
    plain = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=512)
    texts = chain(["user\n", "assistant\n"] * 10, corpus())
    trained = plain.train_new_from_iterator(
        texts, _WORDS, new_special_tokens=["<|im_start|>", "<|im_end|>"]
    )
    trained.chat_template = _CHAT_TEMPLATE
    return trained


def _letters() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(rest))]
