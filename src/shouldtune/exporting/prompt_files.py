"""A prompt as files that need nothing of ours: prompt.json, and prompt.py, which makes the messages.

What a request asks for beside its messages (length, temperature, form) stands in both, in the names of an
OpenAI-compatible server.
"""

from __future__ import annotations

import json
import pprint
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.exporting.asking import Chat, Request, asked, labels_in_json
from shouldtune.exporting.searching import DATA, refuse_other_searches, searches, write_data
from shouldtune.exporting.searching import code as search_code
from shouldtune.exporting.source import Source
from shouldtune.models.prompted import options_from_dict, options_to_dict
from shouldtune.types import Options

JSON_FILE, CODE_FILE = "prompt.json", "prompt.py"
TIMEOUT_S = 600
THEN = "the input, as a message of the user"
THEN_SEARCHED = f"the nearest examples, and the input below the nearest passages: {CODE_FILE} finds both in {DATA}"

_CODE = '''\
"""The prompt, as it was measured; Python's standard library is all that it needs.

    client.chat.completions.create(model=..., messages=messages("an input"), **REQUEST)
{labelled}"""

{search}BEFORE = {before}

REQUEST = {request}


def messages(text: str) -> list[dict[str, str]]:
    """The chat to send for one input."""
{body}
'''
_LABELLED = """
What comes back is JSON, whose `label` is the answer.
"""
_BODY = '    return [*BEFORE, {"role": "user", "content": text}]'
_SEARCHING = """\
    shown, text = found(text)
    return [*BEFORE, *shown, {"role": "user", "content": text}]"""


def write_prompt(source: Source, folder: Path) -> None:
    """Write prompt.json and prompt.py. InputError where they could not say the same as the run."""
    refuse_other_searches(source)
    looks_up = searches(source.prompt)
    chat, request = asked(source)
    options = options_to_dict(source.prompt.options)
    told = {
        "messages_before": chat,
        "then": THEN_SEARCHED if looks_up else THEN,
        "request": request,
        "options": options,
    }
    (folder / JSON_FILE).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if looks_up:
        write_data(source.prompt, folder)
    code = _CODE.format(
        search=f"{search_code()}\n\n" if looks_up else "",
        before=_literal(chat),
        request=_literal(request),
        labelled=_LABELLED if labels_in_json(source) else "",
        body=_SEARCHING if looks_up else _BODY,
    )
    (folder / CODE_FILE).write_text(code, encoding="utf-8")


def _literal(value: Any) -> str:
    """A Python literal of plain data: what stands in a prompt is a string there, whatever it holds."""
    return pprint.pformat(value, width=110, sort_dicts=False)


def read_options(folder: Path) -> Options:
    """How answers are asked for, as prompt.json says."""
    told = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
    return options_from_dict(told["options"])


_ASK = """
import importlib.util, json, sys
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("prompt", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
made = [module.messages(text) for text in json.load(sys.stdin)]
json.dump({"messages": made, "request": module.REQUEST}, sys.stdout)
"""


def run_prompt(folder: Path, inputs: Sequence[str]) -> list[Chat]:
    """What the exported function makes of each input, in a Python that sees no installed package. CannotMeasure."""
    made: list[Chat] = _run(folder, inputs)["messages"]
    return made


def run_request(folder: Path) -> Request:
    """What the exported file asks for beside the messages. CannotMeasure."""
    found: Request = _run(folder, [])["request"]
    return found


def _run(folder: Path, inputs: Sequence[str]) -> dict[str, Any]:
    command, place = [sys.executable, "-I", "-S", "-c", _ASK, str(folder / CODE_FILE)], folder / CODE_FILE
    try:
        done = subprocess.run(  # noqa: S603  the file is the one just written
            command, input=json.dumps(list(inputs)), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise CannotMeasure(
            f"the exported prompt made no messages within {TIMEOUT_S} s", where=place, hint="--sample asks for fewer"
        ) from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise CannotMeasure(f"the exported prompt does not run: {last[0]}", where=place)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
