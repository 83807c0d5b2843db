"""Check whether a pipeline's text encoders would truncate a prompt."""

from typing import Any

_TEMPLATE = 40  # more tokens than a chat template adds
_UNBOUNDED = 100_000  # tokenizers without a limit have a huge one


class PromptLimits:
    """The prompt limits of a pipeline's tokenizers."""

    def __init__(self, pipeline: object, max_tokens: object = None) -> None:
        """Read the limits; `max_tokens` is the pipeline's own limit, if it is a number."""
        own = max_tokens if isinstance(max_tokens, int) else _UNBOUNDED
        tokenizers = (getattr(pipeline, f"tokenizer{n}", None) for n in ("", "_2", "_3"))
        self._limits = [
            (tokenizer, limit)
            for tokenizer in tokenizers
            if tokenizer is not None
            and (limit := min(tokenizer.model_max_length, own)) < _UNBOUNDED
        ]

    def exceeded_by(self, prompt: str) -> bool:
        """Return whether a tokenizer truncates the prompt."""
        longest = len(prompt.encode()) + _TEMPLATE  # a token has at least one byte
        return any(
            longest > limit and _length(tokenizer, prompt) > limit
            for tokenizer, limit in self._limits
        )


def _length(tokenizer: Any, prompt: str) -> int:
    if getattr(tokenizer, "chat_template", None):  # as in Z-Image's pipeline
        messages = [{"role": "user", "content": prompt}]
        prompt = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
    return len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
