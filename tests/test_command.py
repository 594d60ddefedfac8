"""Shell commands: what is the same however it is written, what is not, and public kubectl rows."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from shouldtune.scorers import kubectl
from shouldtune.scorers.command import command, extract, matches, parse
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Example, Score


def graded(answer: str, target: str, *accepted: str, **meta: Any) -> Score:
    return command(Completion(text=answer), Example("e", "q", target, accepted, meta=meta))


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("kubectl get po -n kube-system", "kubectl get pods --namespace=kube-system"),
        ("kubectl --namespace kube-system get pod", "kubectl get pods -n kube-system"),
        ("k get svc,po -A", "kubectl get pods,services --all-namespaces"),
        ("kubectl get pod -oyaml web", "kubectl get pod/web --output yaml"),
        ("kubectl get pod/a pod/b", "kubectl get pods a b"),
        ("kubectl exec -it web -- bash", "kubectl exec pods/web --tty --stdin -- bash"),
        ("kubectl exec -i -t web bash", "kubectl exec web -ti -- bash"),
        ("kubectl logs -f web", "kubectl logs pod/web --follow=true"),
        ("kubectl apply -f x.yaml", "kubectl apply --filename=x.yaml"),
        ("kubectl get pods -l 'app=web'", 'kubectl get pods --selector="app=web"'),
        ("kubectl scale deploy web --replicas=3", "kubectl scale --replicas 3 deployment/web"),
        ("kubectl describe node n1", "kubectl describe nodes <node_name>"),
        ("kubectl label pods web tier=x", "kubectl label pods <name> <key>=<value>"),
        ("kubectl rollout undo deploy web", "kubectl rollout undo <resource_type>/<resource_name>"),
        ("kubectl explain po.spec", "kubectl explain pods.spec"),
        ("kubectl get pods -o json > all.json", "kubectl get po -o json >all.json"),
        ("kubectl create --from-file=b cm c --from-file=a", "kubectl create configmap c --from-file=a --from-file b"),
        ("kubectl get po -o name | xargs -n 1 echo", "kubectl get pods -o name | xargs -n 1 echo"),
        ("sudo docker run --rm -it --name web nginx", "docker run -ti --name=web --rm nginx"),
        ("ls -al /tmp", "ls -l -a /tmp"),
        ("tar -f a.tar -x", "tar -x -f a.tar"),
        ("git commit --amend -m 'a b'", 'git commit -m "a b" --amend'),
        ("grep '#' config.txt # all of them", 'grep "#" config.txt'),
        ("sed 's#a#b#' x", "sed s#a#b# x"),
        ('awk -F "|" x', "awk -F '|' x"),
        ("awk -F '|' x", "awk -F \\| x"),
        ("find . -exec rm {} ';'", "find . -exec rm {} \\;"),
        ("kubectl get pods #all", "kubectl get po"),
        ("ls  \\\n -la", "ls -a -l"),
        ("aws s3 ls --region eu-west-1 s3://b", "aws s3 ls s3://b --region=eu-west-1"),
    ],
)  # fmt: skip
def test_the_same_command_written_otherwise_is_right(answer: str, target: str) -> None:
    score = graded(answer, target)
    assert (score.value, score.metrics["verb"], score.metrics["exact"]) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "target", "verb"),
    [
        ("kubectl get pods -n default", "kubectl get pods -n kube-system", 1.0),
        ("kubectl get pods", "kubectl get pods -n kube-system", 1.0),
        ("kubectl get services", "kubectl get pods", 0.0),
        ("kubectl delete pods", "kubectl get pods", 0.0),
        ("kubectl delete pods --all", "kubectl delete pods web", 1.0),
        ("kubectl rollout status deploy/web", "kubectl rollout undo deploy/web", 0.0),
        ("kubectl logs -p web", "kubectl logs -f web", 1.0),
        ("kubectl logs deployment/web", "kubectl logs web", 1.0),
        ("kubectl get node <name>", "kubectl get node n1", 1.0),  # a placeholder is no answer to a name
        ("kubectl label pods web tier", "kubectl label pods <name> <key>=<value>", 1.0),
        ("kubectl get pods && kubectl delete pods --all", "kubectl get pods", 0.0),
        ("kubectl get pods ; grep x", "kubectl get pods | grep x", 0.0),
        ("kubectl exec web -- sh -c 'b'", "kubectl exec web -- sh -c 'a'", 1.0),
        (
            "kubectl exec web -- ls -l -a",
            "kubectl exec web -- ls -a -l",
            1.0,
        ),  # run inside: order kept
        ("cp b a", "cp a b", 0.0),
        ("docker run nginx", "docker run --rm nginx", 1.0),
        ('grep "#" /etc/shadow', 'grep "#" config.txt', 1.0),
        ("awk -F | x", "awk -F '|' x", 0.0),
        ("find . -exec rm {} ;", "find . -exec rm {} \\;", 1.0),
        ("echo a > b", "echo a '>' b", 1.0),
        ("echo a & b", "echo 'a & b'", 0.0),
        ("I do not know.", "kubectl get pods", 0.0),
        ("", "kubectl get pods", 0.0),
    ],
)
def test_another_command_is_wrong(answer: str, target: str, verb: float) -> None:
    score = graded(answer, target)
    assert (score.value, score.metrics["verb"]) == (0.0, verb)


@pytest.mark.parametrize(
    "answer",
    [
        "$ kubectl get pods -A",
        "```bash\n# all of them\nkubectl get pods -A\n```\nThis lists every pod.",
        "Run `kubectl get pods -A` in your shell.",
        "You can use this command: kubectl get pods -A.",
        "kubectl get pods \\\n  -A",
        "kubectl get pods -A   # every namespace",
        "kubectl get pods -A\n\nExplanation: kubectl lists them.",
    ],
)
def test_a_command_is_found_among_words(answer: str) -> None:
    assert graded(answer, "kubectl get pods -A").value == 1.0


def test_all_commands_of_a_code_block_are_the_answer() -> None:
    block = "```\nkubectl get pods\nkubectl delete pods --all\n```"
    assert graded(block, "kubectl get pods").value == 0.0
    assert graded(block, "kubectl get pods\nkubectl delete pods --all").value == 1.0


def test_a_comment_ends_with_its_line() -> None:
    block = "```\nkubectl create ns x # it's new\nkubectl get pods\n```"
    assert graded(block, "kubectl create ns x").value == 0.0
    assert graded(block, "kubectl create ns x\nkubectl get pods").value == 1.0


def test_any_accepted_answer_and_any_alternative_name_is_right() -> None:
    assert graded("kubectl edit deploy web", "kubectl set image deploy web a=b", "kubectl edit deploy web").value == 1.0
    assert graded("tool ls -q", "tool list --quiet", alternatives=[["ls", "list"], ["-q", "--quiet"]]).value == 1.0
    assert graded("tool ls -q", "tool list --quiet").value == 0.0


def test_word_for_word_is_told_apart() -> None:
    assert graded("kubectl  get pods", "kubectl get pods").metrics["exact"] == 1.0


def test_a_redirection_is_no_placeholder() -> None:
    assert graded("sort < other > out", "sort < in > out").value == 0.0


@pytest.mark.parametrize("text", ["kubectl 'x", "kubectl -", "kubectl |", "| | |", "kubectl " + "-a " * 3000, "\x00"])
def test_hostile_answers_do_not_raise(text: str) -> None:
    assert graded(text, "kubectl get pods").value == 0.0
    assert parse(extract(text, ["kubectl"])) is not None


def rows(shared_data: Path) -> list[Example]:
    return [e for half in ("train", "test") for e in read_rows(shared_data / "kubectl" / f"{half}.jsonl").examples]


def test_every_public_target_is_right_by_its_own_scorer_and_not_only_word_for_word(shared_data: Path) -> None:
    everything = rows(shared_data)
    assert len(everything) == 513
    for example in everything:
        for answer in example.answers:
            assert command(Completion(text=answer), example).value == 1.0, example.id
            assert matches(parse(answer), parse(answer)), example.id
            assert command(Completion(text=f"Here:\n```sh\n$ {answer}\n```"), example).value == 1.0, example.id


def test_public_targets_with_other_names_are_right(shared_data: Path) -> None:
    long = {f"--{name}": f"-{letter}" for letter, name in kubectl.SHORT.items() if letter in "nolA"}

    def apart(flag: re.Match[str]) -> str:
        return flag[0] if flag[1] in kubectl.SWITCHES else f"--{flag[1]} "

    changed = 0
    for example in rows(shared_data):
        tokens = example.target.split(" ")
        other = [long.get(token, token) for token in tokens]
        if "--" not in tokens:  # behind it stand another program's arguments
            other = [re.sub(r"^--(\w[\w-]*)=(?=[\w./]+$)", apart, token) for token in other]
        text = " ".join(other)
        if text != example.target:
            changed += 1
            assert command(Completion(text=text), example).value == 1.0, (text, example.target)
    assert changed > 100


def test_planted_mistakes_in_public_targets_are_wrong(shared_data: Path) -> None:
    everything = rows(shared_data)
    draw = random.Random(0)
    fooled = []
    for example in everything:
        tokens = example.target.split(" ")
        planted = [" ".join(tokens[:-1]), f"{example.target} --invented=1", f"{example.target} && kubectl get pods"]
        planted += [" ".join([tokens[0], "frobnicate", *tokens[2:]])] if "<" not in tokens[1] else []
        planted += [example.target.replace("kubectl", "helm", 1)]
        fooled += [m for m in planted if command(Completion(text=m), example).value == 1.0]
        other = draw.choice([e for e in everything if e.meta["verb"] != example.meta["verb"]])
        fooled += [other.target] if command(Completion(text=other.target), example).value == 1.0 else []
    assert fooled == []
