"""The post's claims in our words, the tasks that test each, and what was seen: read beside the figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One claim."""

    says: str
    tasks: tuple[str, ...]
    seen: str = ""
    """Where a small model differs from what the post saw with large ones, and why; no figures, they stand beside it."""


CLAIMS = (
    Claim(
        "Given the facts in the prompt, a model off the shelf can reason about what it never saw; before, examples "
        "alone taught a task",
        ("ask-the-docs", "chat-docs", "classify-intent"),
        "Not so for a model this small: with the right passage before it, it answers hardly better than without. Once "
        "tuned to read passages, the same passages make it right on half of the questions: then the facts do stand in "
        "the prompt, and only the reading was taught.",
    ),
    Claim(
        "Tune to teach a general skill; prompt to work with particular facts",
        ("ask-the-docs", "redact-notes", "redaction"),
        "The half on skills holds: rules of redaction were learnt from rows, and from no prompt; of facts, tuning "
        "without passages learnt next to nothing.",
    ),
    Claim(
        "To chat with one's own data needs no tuning: the hard part is the search",
        ("ask-the-docs", "chat-docs"),
        "Here the search is the easy part: the right passage mostly comes first. Reading it is what a model this small "
        "cannot do untuned.",
    ),
    Claim(
        "A tone of voice needs an instruction and a few worked examples, no tuning",
        ("refund-tone", "tone"),
        "Not so for a model this small: instruction and examples bring it half of the way, and tuning nearly all. It "
        "takes a model that follows instructions; `recheck --model` asks one.",
    ),
    Claim(
        "Simple extraction and classification need no tuning where right examples prime the prompt",
        ("email-to-json", "extraction", "alert-triage", "ticket-triage", "classify-alert", "classify-intent"),
        "Examples near to the question do most of what a prompt does here, and held to its form it always parses; but "
        "copying the right words out of an e-mail took tuning. Rules of a house that stand nowhere no rung learnt.",
    ),
    Claim(
        "A text made to measure needs no tuning if the prompt says what to put in, what to avoid, how, and how much",
        ("sales-email", "custom-text"),
        "Not so for a model this small: told what to put in and what to avoid, it does less of it than a copy of its "
        "orders would; tuned, it writes what was asked for.",
    ),
    Claim(
        "Tune for a skill that a handful of examples cannot explain: redaction under rules that are nuanced, differ by "
        "jurisdiction and change",
        ("redact-notes", "redaction", "redaction-notes-es"),
        "As claimed: prompts leak or blot out what should stay, also with the rules' own page before them; rules and "
        "learnt names find half of it or more, and the tuned model leaks least by far: above the goal on public notes, "
        "below it where jurisdictions differ.",
    ),
    Claim(
        "From plain English to API calls, tuning beats retrieval: the documents were not written to be found, and "
        "there are many",
        ("python-api", "kubectl", "kubectl-public", "apibench-tensorhub", "apibench-torchhub", "apibench-huggingface"),
        "As claimed: tuned on a few hundred rows it beats every retrieval at hand, though the goal stays out of reach. "
        "Where many requests are alike, the strongest rival is the nearest row's answer, copied; and tuned to read "
        "what retrieval finds it did best, so that the two are not rivals.",
    ),
    Claim(
        "Tuned models are known best for teaching a skill: code completion",
        ("complete-code", "code-completion"),
        "Not seen: hardly a function of its passes its tests, before or after tuning on some two hundred. What the "
        "post has in mind are models a hundred times as large, tuned on all the code that could be had.",
    ),
    Claim(
        "What models can do off the shelf grows: function calls were the newest example",
        ("function-calling", "function-calling-public"),
        "This model has not grown so far: off the shelf it does no better than never calling anything. Tuned on some "
        "two hundred rows it names the right function for half, makes the whole call for a fifth, and always calls one "
        "where none fits. On a model that takes tools, `native_tools` is a rung of its own.",
    ),
    Claim(
        "Retrieval itself can be made better, before any tuning",
        ("apibench-tensorhub", "ask-the-docs"),
        "It can: the way of searching is chosen by measured hits, and words with meanings found more than either "
        "alone. A model that cannot read what was found gains nothing by it.",
    ),
    Claim(
        "Mostly one saves time, money and stress by not tuning: it comes last",
        ("ticket-triage", "refund-tone"),
        "The order holds, the outcome does not: with a model this small a prompt is seldom enough, so tuning wins "
        "where with a large one it would not have been reached. All but the task is forgotten, and that is told too.",
    ),
)
