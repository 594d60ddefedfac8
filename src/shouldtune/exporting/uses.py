"""How each form is used, in Markdown: what stands in its model card."""

from __future__ import annotations

from shouldtune.exporting.asking import labels_in_json
from shouldtune.exporting.source import Source
from shouldtune.exporting.weights import base_place, gguf_of, vllm_command

_CALL = """\
```python
from prompt import REQUEST, messages

client.chat.completions.create(model={model}, messages=messages(text), **REQUEST)
```"""


_RANKED = """

The run did not let it write its answer: every label was scored, and the likeliest is the answer. `generate` as above
may write something else. The score below is of labels scored as in the run; `shouldtune serve` scores them too."""
_HELD = """

The run held its answers to their form (`{form}` in `prompt.json`) while they were written. `generate` as above does
not: hold them with a library for constrained decoding, or the score below is not what you get."""
_BY_VLLM = """

`structured_outputs` is vLLM's own: it holds an answer to the labels while it is written, token by token. The run scored
whole labels, so where two begin alike another one can win."""
_IN_JSON = """

What comes back is JSON, whose `label` is the answer."""


def _formed(source: Source) -> str:
    """What is to be said of a request that holds answers to labels."""
    if labels_in_json(source):
        return _IN_JSON
    return _BY_VLLM if source.answers_here and source.prompt.options.choices else ""


def _free(source: Source) -> str:
    """What is to be said where the run held answers to a form, and the code above does not."""
    options = source.prompt.options
    if options.choices and options.choice_logprobs:
        return _RANKED
    form = "choices" if options.choices else "schema" if options.schema is not None else ""
    return _HELD.format(form=form) if form else ""


def prompt(source: Source) -> str:
    return _CALL.format(model="...") + _formed(source)


def jsonl(source: Source) -> str:
    return (
        "| trainer | files | how |\n|---|---|---|\n"
        "| TRL | `trl.*.jsonl` | `SFTTrainer` takes the loss on the completion alone |\n"
        "| Axolotl | `axolotl.*.jsonl` | the lines in `axolotl.yaml` |\n"
        "| OpenAI | `openai.*.jsonl` | upload with the purpose `fine-tune` |\n\n"
        "Training here used the `train` files and chose by the `validation` files; held-out rows are in neither."
    )


def peft(source: Source) -> str:
    return f"""\
From inside this folder:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from prompt import messages

tokenizer = AutoTokenizer.from_pretrained(".")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base_place(source)!r}), ".")
prompt = tokenizer.apply_chat_template(messages(text), add_generation_prompt=True, return_tensors="pt")
model.generate(**prompt, max_new_tokens={source.prompt.options.max_tokens}, do_sample=False)
```{_free(source)}"""


def merged(source: Source) -> str:
    return f"""\
From inside this folder:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
from prompt import messages

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer.apply_chat_template(messages(text), add_generation_prompt=True, return_tensors="pt")
model.generate(**prompt, max_new_tokens={source.prompt.options.max_tokens}, do_sample=False)
```{_free(source)}

Weights are float32: in bfloat16 part of what training changed would be rounded away. A server that halves them must be
told not to (`vllm serve . --dtype float32`)."""


def vllm(source: Source) -> str:
    model = '"tuned"' if source.adapter is not None else repr(base_place(source))
    call = _CALL.format(model=model) + _formed(source)
    return f"From inside this folder:\n\n```sh\n{vllm_command(source)}\n```\n\n{call}"


def ollama(source: Source) -> str:
    lines = [
        "From inside this folder:\n\n```sh\nollama create tuned -f Modelfile\nollama run tuned\n```",
        "The prompt stands in the Modelfile: send the input alone, as a message of the user. `num_ctx` holds the"
        " longest prompt that was measured; raise it for longer inputs.",
    ]
    if gguf_of(source) is None:
        lines.append(
            "FROM names safetensors, which Ollama converts. Where it cannot, convert the folder by llama.cpp's"
            " `convert_hf_to_gguf.py` and name that file instead."
        )
    options = source.prompt.options
    if options.choices or options.schema is not None:
        ranked = (
            " The run scored whole labels and took the likeliest."
            if options.choice_logprobs and source.answers_here
            else ""
        )
        lines.append(f"A Modelfile cannot hold answers to their form: send `format` with each request.{ranked}")
    return "\n\n".join(lines)
