"""How many words of a prompt a pipeline's text encoders read."""

from typing import Any

_FRAME = 40  # more tokens than what a prompt is put between
_UNBOUNDED = 100_000  # tokenizers without a limit name one far beyond every prompt


class Words:
    """Counts a prompt's tokens as a pipeline's tokenizers do."""

    def __init__(self, pipeline: Any, most: Any = None) -> None:
        """Read the limits; `most` is the pipeline's own, where it is a number."""
        own = most if isinstance(most, int) else _UNBOUNDED
        found = (getattr(pipeline, f"tokenizer{place}", None) for place in ("", "_2", "_3"))
        self._limits = [
            (tokenizer, limit)
            for tokenizer in found
            if tokenizer is not None
            and (limit := min(tokenizer.model_max_length, own)) < _UNBOUNDED
        ]

    def too_many(self, prompt: str) -> bool:
        """Tell whether a tokenizer cuts the prompt off."""
        longest = len(prompt.encode()) + _FRAME  # a token is a byte at least
        return any(
            longest > limit and _length(tokenizer, prompt) > limit
            for tokenizer, limit in self._limits
        )


def _length(tokenizer: Any, prompt: str) -> int:
    if getattr(tokenizer, "chat_template", None):  # as Z-Image's pipeline frames it
        talk = [{"role": "user", "content": prompt}]
        prompt = tokenizer.apply_chat_template(
            talk, tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
    return len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
