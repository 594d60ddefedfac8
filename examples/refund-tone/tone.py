"""Score a support reply: is it friendly and supportive, and about *this* customer?

Four traits add up (empathy, next step, addressing the person, warm closing); topic,
length and faults multiply. Topic multiplies so that one polite reply pasted to every
customer cannot score well: kind words count only as far as the reply is on the subject.
"""

from __future__ import annotations

import math
import re

from shouldtune.types import Completion, Example, Score

FEELING = re.compile(
    r"\b(sorry|apolog\w+|understand\w*|sympath\w+|empath\w+|imagine|frustrat\w+|disappoint\w*"
    r"|annoy\w*|upset\w*|stress\w*|worr\w+|unpleasant|inconvenien\w+|heart(breaking|felt)|"
    r"what a (shame|pity)|that's a (shame|pity)|must (be|have been|have felt|feel))\b"
)
VERB = (
    r"(refund|replac|send|check|look|post|email|mail|call|phon|ring|text|writ|repl|ship|deliver"
    r"|collect|pick|cancel|chang|swap|exchang|repair|fix|reopen|issu|arrang|book|ask|find|trac"
    r"|correct|remov|stop|add|apply|extend|return|pop|tell|confirm|credit|report|review|approv"
    r"|restor|releas|revers|set|switch|open|clos|investigat|forward|merg|mov|print|remak|engrav"
    r"|resiz|match|bring|giv|pass|get|try|hand|rais|pay|updat|sort|offer|record|speak)\w*"
)
WE_DO = re.compile(
    r"\b((i|we|team)('ll| will| can)|let me|shall we|(going|happy|glad|able) to)(?! not)"
    rf"( [\w']+){{0,3}}? {VERB}|\b(i'm|we're|(i|we) (am|are|have)|i've|we've)"
    rf"( (now|just|already|also))? (?=\w+(ing|ed)\b){VERB}"
)
YOU_DO = re.compile(rf"\b(please|simply|just|you can|could you|you're welcome to)( [\w']+){{0,2}}? {VERB}|\btell me")
WARM = re.compile(
    r"\b(thank\w*|hop(e|es|ing)|take (good |gentle )?care|warm\w*|wish\w*|regards|happ(y|ily|iest)"
    r"|glad|pleased|enjoy\w*|here (for|to help)|we're here|welcome|look(ing)? forward|good luck"
    r"|all the best|best (of luck|wishes)|appreciate|stay (safe|warm|cosy|comfy)|bear with|cheers"
    r"|have an? (\w+ )?(good|great|lovely|nice|wonderful|brilliant)|thoughts|here's to|rest easy"
    r"|joy\w*|from (all of )?us|don't worry|hang in there|sleep well|safe hands)\b"
)
FAULTS = {
    "blames the customer": r"\byou should(n't| not)? have\b(?! (to|been|had|received|needed))"
    r"|(?<!not )\byour (own )?(fault|mistake)\b|\b(our|company) policy\b|\byou failed\b"
    r"|\bcalm down\b|\bnot our (fault|problem|responsib\w+)",
    "meta talk": r"\bas an ai\b|\blanguage model\b|\bsupportive tone\b|\bhere('s| is) (a|the|my) "
    r"(\w+ )?(reply|response|answer)\b|^\W*(reply|response|answer|customer|input|output)\W*:",
    "speaks as the customer": r"\bi (bought|ordered|paid|received|want (to|a|my))\b"
    r"|\bmy (money|order|parcel|package|refund)\b",
    "placeholder": r"\[[^\]\n]{1,40}\]|<[^>\n]{1,40}>|\{[^}\n]{1,40}\}|_{3,}|\bx{3,}\b",
}
WEIGHTS = {"empathy": 0.3, "next step": 0.35, "addresses you": 0.15, "warm closing": 0.2}


def stem(word: str) -> str:
    """Cut plain English endings, so that `charged` meets `charge` and `leaking` meets `leaks`."""
    word = re.sub(r"'(s|re|ve|ll|d|m)?$", "", word)
    word = re.sub(r"(?<=\w{3})(ing|ed|es|s|ly|ies|ied|y|e)$", "", word)
    return re.sub(r"([bdglmnprt])\1$|[ei]$", r"\1", word)


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order."""
    return re.findall(r"[a-z0-9][a-z0-9']*", text.lower().replace("\u2019", "'"))


def stems(text: str) -> set[str]:
    """The distinct stems of a text."""
    return {stem(word) for word in words(text)}


# Stems that say nothing about which customer wrote: grammar, then any shop's daily talk.
COMMON = stems(
    "the and but for nor not you your our ours his her hers its their they them she him who what "
    "when where why how which that this these those there here then than with without from into "
    "onto off over under about after before again all any some each every both few more most "
    "other another such only own same too very can can't cannot will won't would could should "
    "have has had having been being are was were isn't aren't wasn't weren't don't doesn't didn't "
    "does did doing done let just also even still yet ever never now out one two dont get got "
    "getting give gave make made take took taken want need know think thought say said tell told "
    "like see saw use come came put go going back used else way lot much many because while since "
    "until though through please sorry apology thank hello good best happy hope help understand "
    "really anything something nothing thing anyone someone nobody everyone everything yes able "
    "right sure time today tomorrow yesterday day daily week month year hour minute ago new old "
    "first last next plz pls down already near try look is it as at by in of on or to up an be do "
    "he me my no us we am im if so oh ok lol bit"
)
SHOP = stems(
    "order refund return deliver delivery parcel package item product money pay paid payment "
    "purchase bought buy sent send receive arrive shop store customer service email website "
    "account replace problem issue ship post"
)


def subject(message: str) -> set[str]:
    """The stems that set this message apart; shop talk counts only when there is nothing else."""
    own = {s for s in stems(message) - COMMON if len(s) > 1}
    return (own - SHOP) or own


def topic(reply: str, message: str) -> float:
    """How far the reply names the customer's own matter: 1, 2 or 3 stems by message length."""
    wanted = subject(message)
    needed = 1 if len(wanted) <= 3 else 2 if len(wanted) <= 12 else 3
    return min(1.0, len(wanted & stems(reply)) / needed) if wanted else 1.0


def echo(reply: str, message: str) -> float:
    """1 if the reply has its own wording, down to 0 as it repeats five-word runs of the message."""
    said, own = words(message), words(reply)
    size = min(5, len(said))
    runs = {tuple(said[i : i + size]) for i in range(len(said) - size + 1)}
    copied = runs & {tuple(own[i : i + size]) for i in range(len(own) - size + 1)}
    return 1 - min(1.0, max(0.0, len(copied) / max(1, len(runs)) - 0.1) / 0.3)


def length(count: int) -> float:
    """1 within 12 to 110 words; a stub or an essay loses in proportion."""
    return min(1.0, count / 12) if count <= 110 else max(0.0, 2 - count / 110)


def traits(low: str) -> dict[str, float]:
    """The four additive traits of a lower-case text; a closing must lie in its last 16 words."""
    grateful = re.search(r"\b(thanks?|grateful|appreciate)\b", low)
    invites = re.search(r"\b(contact|reach|let (us|me) know)\b", low)
    acts = WE_DO.search(low) or YOU_DO.search(low)
    return {
        "empathy": 1.0 if FEELING.search(low) else 0.5 if grateful else 0.0,
        "next step": 1.0 if acts else 0.5 if invites else 0.0,
        "addresses you": 1.0 if re.search(r"\byou(rs?)?\b", low) else 0.0,
        "warm closing": 1.0 if WARM.search(" ".join(words(low)[-16:])) else 0.0,
    }


def friendly(completion: Completion, example: Example) -> Score:
    """Grade one reply from 0 to 1 and say in a few words what it lacks."""
    text = completion.text.strip().replace("\u2019", "'")
    low = text.lower()
    factors = {"topic": topic(text, example.input), "own words": echo(text, example.input)}
    factors["length"] = length(len(words(text)))
    parts = traits(low) | factors
    faults = [name for name, fault in FAULTS.items() if re.search(fault, low, re.S)]
    faults += ["shouting"] if re.search(r"!{2,}|\b[A-Z]{4,}\W+[A-Z]{4,}\b", text) else []
    sentences = [part for part in re.split(r"[.!?\n]+\s*", low) if len(part) > 20]
    faults += ["repeats itself"] if len(set(sentences)) < len(sentences) else []
    value = sum(weight * parts[name] for name, weight in WEIGHTS.items())
    value *= math.prod(factors.values()) * 0.5 ** len(faults)
    missing = [f"lacks {name}" for name, part in parts.items() if part < 1]
    return Score(round(value, 4), "; ".join(missing + faults) or "all there", parts)
