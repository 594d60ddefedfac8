"""Build a `tokenizers` tokenizer from the vocabulary that a GGUF file carries.

Two families occur in llama-architecture files: byte-level BPE (`gpt2`) and SentencePiece BPE (`llama`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shouldtune.errors import ModelUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from shouldtune.models.gguf_file import GgufFile

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # llama.cpp's token types
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(file: GgufFile) -> Tokenizer:
    """The file's tokenizer, control tokens marked special.

    Raises ModelUnavailable when the vocabulary is missing, inconsistent or of a family that is not known.
    """
    from tokenizers import AddedToken

    tokens = _strings(file, "tokenizer.ggml.tokens")
    types = file.fields.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise _unusable(file, "its vocabulary is inconsistent")
    family = file.fields.get("tokenizer.ggml.model")
    if family == "gpt2":
        tokenizer = _byte_level(file, tokens)
    elif family == "llama":
        tokenizer = _sentence_piece(file, tokens, types)
    else:
        raise _unusable(file, f"its tokenizer is of the unknown family {family!r}")
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in zip(tokens, types, strict=True)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    if tokenizer.get_vocab_size() != len(tokens):
        raise _unusable(file, "its vocabulary is inconsistent")
    return tokenizer


def _byte_level(file: GgufFile, tokens: list[str]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    merges = [(left, right) for left, _, right in (m.partition(" ") for m in _strings(file, "tokenizer.ggml.merges"))]
    known = set(tokens)
    if not all(known.issuperset((left, right, left + right)) for left, right in merges):
        raise _unusable(file, "a merge of its tokenizer is not two tokens of its vocabulary")
    split = file.fields.get("tokenizer.ggml.pre", "default")
    words: list[Any]
    if split == "smollm":
        words = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    elif split in ("gpt-2", "default"):
        words = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    elif split in ("llama-bpe", "llama3", "llama-v3"):
        words = [
            pre_tokenizers.Split(Regex(_LLAMA3_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        raise _unusable(file, f"its tokenizer splits words in the unknown way {split!r}")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    ignore_merges = split.startswith("llama")  # Llama 3: a word that is a token is taken whole
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_piece(file: GgufFile, tokens: list[str], types: list[int]) -> Tokenizer:
    """SentencePiece BPE has scores and no merge list: each split of a token into two tokens is a merge,
    and a token with a better score is merged first."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores = file.fields.get("tokenizer.ggml.scores") or []
    if len(scores) != len(tokens):
        raise _unusable(file, "its vocabulary has no scores")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges: list[tuple[str, str]] = []
    for index in sorted(range(len(tokens)), key=lambda i: (-scores[i], i)):
        token = tokens[index]
        if types[index] != 1:
            continue
        pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [pair for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(pairs, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    unknown = next((token for token, kind in zip(tokens, types, strict=True) if kind == _UNKNOWN), None)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = file.fields.get("tokenizer.ggml.add_space_prefix", True)
    tokenizer.normalizer = normalizers.Sequence(
        [*([normalizers.Prepend("▁")] if prefix else []), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if prefix else []),
        ]
    )
    return tokenizer


def _strings(file: GgufFile, name: str) -> list[str]:
    values = file.fields.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise _unusable(file, f"the field {name} is missing")
    return values


def _unusable(file: GgufFile, why: str) -> ModelUnavailable:
    return ModelUnavailable(f"not a usable GGUF file: {why}", where=file.path)
