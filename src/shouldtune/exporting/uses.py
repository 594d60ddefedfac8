"""How each form is used, in Markdown: what stands in its model card."""

from __future__ import annotations

from shouldtune.exporting.source import Source
from shouldtune.exporting.weights import base_place, vllm_command

_CALL = """\
```python
from prompt import REQUEST, messages

client.chat.completions.create(model={model}, messages=messages(text), **REQUEST)
```"""


def prompt(source: Source) -> str:
    return _CALL.format(model="...")


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
```"""


def merged(source: Source) -> str:
    return f"""\
From inside this folder:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
from prompt import messages

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer.apply_chat_template(messages(text), add_generation_prompt=True, return_tensors="pt")
model.generate(**prompt, max_new_tokens={source.prompt.options.max_tokens}, do_sample=False)
```

Weights are float32: in bfloat16 part of what training changed would be rounded away. A server that halves them must be
told not to (`vllm serve . --dtype float32`)."""


def vllm(source: Source) -> str:
    model = '"tuned"' if source.adapter is not None else repr(base_place(source))
    return f"From inside this folder:\n\n```sh\n{vllm_command(source)}\n```\n\n{_CALL.format(model=model)}"


def ollama(source: Source) -> str:
    lines = [
        "From inside this folder:\n\n```sh\nollama create tuned -f Modelfile\nollama run tuned\n```",
        "The prompt stands in the Modelfile: send the input alone, as a message of the user.",
    ]
    if source.prompt.options.choices or source.prompt.options.schema is not None:
        lines.append("A Modelfile cannot hold answers to their form: send `format` with each request.")
    return "\n\n".join(lines)
