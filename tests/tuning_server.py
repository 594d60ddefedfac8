"""A provider on the loopback interface that takes files, trains nothing, and answers as if it had.

It counts what reaches it, and can lose any request before it is carried out or after.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Literal

from aiohttp import web

from tests.loopback import Loopback

When = Literal["before", "after"]
Hook = Callable[[], None]
BASE = "base-1"


@dataclass
class TuningServer(Loopback):
    """What it holds and what it was asked."""

    answers: Mapping[str, str] = field(default_factory=dict)
    """What the tuned model answers, by the last message; the base is always wrong."""
    looks: int = 2
    """How often a job is looked at before it is over."""
    status: str = "succeeded"
    """How jobs end."""
    lists: bool = True
    """Whether files and jobs are listed."""
    marks: bool = True
    """Whether a job's metadata and suffix are kept."""
    checkpoints: int = 3
    """How many a job leaves behind, its result not among them."""
    checkpoints_answer: bool = True
    base_answers: bool = True
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and words for a step."""
    lose: dict[tuple[str, When], Hook | None] = field(default_factory=dict)
    """Steps whose next request is lost, and what to do at that moment."""
    seen: Counter[str] = field(default_factory=Counter)
    """Requests by step."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)

    # ------------------------------------------------------------ the steps

    async def upload(self, request: web.Request) -> dict[str, Any]:
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser(policy=HTTP).parsebytes(head + await request.read()).iter_parts()
        form = {str(part.get_param("name", header="Content-Disposition")): part for part in parts}
        content = form["file"].get_payload(decode=True)
        assert isinstance(content, bytes)
        name, purpose = form["file"].get_filename(), str(form["purpose"].get_payload()).strip()
        made = {"id": f"file-{len(self.files) + 1}", "object": "file", "filename": name, "created_at": 1}
        made |= {"bytes": len(content), "purpose": purpose, "status": "processed"}
        self.files[str(made["id"])], self.contents[str(made["id"])] = made, content
        return made

    async def list_files(self, request: web.Request) -> dict[str, Any]:
        return {"object": "list", "data": list(reversed(self.files.values())), "has_more": False}

    async def start(self, request: web.Request) -> dict[str, Any]:
        body = await request.json()
        assert body["training_file"] in self.files
        number = len(self.jobs) + 1
        epochs = body["method"]["supervised"]["hyperparameters"]["n_epochs"]
        made = {"id": f"ftjob-{number}", "object": "fine_tuning.job", "created_at": 100, "model": body["model"]}
        made |= {"training_file": body["training_file"], "status": "queued", "fine_tuned_model": None, "looks": 0}
        made |= {"epochs": epochs, "trained_tokens": None, "finished_at": None, "organization_id": "o", "seed": 1}
        if self.marks:
            made |= {"metadata": body["metadata"], "user_provided_suffix": body["suffix"]}
        self.jobs[str(made["id"])] = made
        return made

    async def list_jobs(self, request: web.Request) -> dict[str, Any]:
        return {"object": "list", "data": list(reversed(self.jobs.values())), "has_more": False}

    async def job(self, request: web.Request) -> dict[str, Any]:
        job = self.jobs[request.match_info["id"]]
        job["looks"] += 1
        if job["status"] in ("queued", "running"):
            job["status"] = "running"
            if job["looks"] >= self.looks:
                self._end(job, self.status)
        return job

    async def cancel(self, request: web.Request) -> dict[str, Any]:
        job = self.jobs[request.match_info["id"]]
        self._end(job, "cancelled")
        return job

    async def events(self, request: web.Request) -> dict[str, Any]:
        step = {"id": "e2", "type": "metrics", "message": "Step 1/9", "created_at": 2, "level": "info"}
        step |= {"data": {"step": 1, "total_steps": 9, "train_loss": 0.5}}
        begun = {"id": "e1", "type": "message", "message": "The job has begun", "created_at": 1, "level": "info"}
        return {"object": "list", "data": [step, begun], "has_more": False}

    async def list_checkpoints(self, request: web.Request) -> dict[str, Any]:
        name = request.match_info["id"]
        made = [
            {"id": f"c{step}", "fine_tuned_model_checkpoint": f"ft:{name}:step-{step}", "step_number": step}
            for step in range(1, self.checkpoints + 1)
        ]
        return {"object": "list", "data": list(reversed(made)), "has_more": False}

    async def model(self, request: web.Request) -> dict[str, Any]:
        return {"id": request.match_info["id"], "object": "model", "created": 1, "owned_by": "o"}

    async def chat(self, request: web.Request) -> dict[str, Any]:
        body = await request.json()
        asked = body["messages"][-1]["content"]
        silent = ":step-" in body["model"] and not self.checkpoints_answer
        if silent or (body["model"] == BASE and not self.base_answers):
            raise web.HTTPNotFound(text='{"error": {"message": "no such model"}}')
        tuned = body["model"].startswith("ft:")
        text = self.answers.get(asked, "wrong answer") if tuned else "wrong answer"
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}

    def _end(self, job: dict[str, Any], status: str) -> None:
        rows = self.contents[job["training_file"]].count(b"\n")
        job |= {"status": status, "finished_at": 160, "trained_tokens": 20 * rows * job["epochs"]}
        if status == "succeeded":
            job["fine_tuned_model"] = f"ft:{job['id']}"
        else:
            job["error"] = {"code": "bad", "message": "the training file was not to its liking", "param": None}

    # ------------------------------------------------------------ the wire

    def _serve(self, step: str, handle: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            self.seen[step] += 1
            self.headers.append(dict(request.headers))
            if step in self.refuse:
                status, words = self.refuse[step]
                words = words.replace("KEY", request.headers.get("Authorization", "").removeprefix("Bearer "))
                return web.json_response({"error": {"message": words, "code": "refused"}}, status=status)
            if step.startswith("list_") and not self.lists:
                return web.json_response({"error": {"message": "no such page"}}, status=404)
            await request.read()
            self._maybe_lose(step, "before", request)
            made = web.json_response(await handle(request))
            self._maybe_lose(step, "after", request)
            return made

        return handler

    def _maybe_lose(self, step: str, when: When, request: web.Request) -> None:
        if (step, when) not in self.lose:
            return
        hook = self.lose.pop((step, when))
        if hook is not None:
            hook()
        assert request.transport is not None
        request.transport.abort()
        raise asyncio.CancelledError

    def app(self) -> web.Application:
        app = web.Application()
        routes = {
            ("POST", "/v1/files"): self.upload,
            ("GET", "/v1/files"): self.list_files,
            ("POST", "/v1/fine_tuning/jobs"): self.start,
            ("GET", "/v1/fine_tuning/jobs"): self.list_jobs,
            ("GET", "/v1/fine_tuning/jobs/{id}"): self.job,
            ("POST", "/v1/fine_tuning/jobs/{id}/cancel"): self.cancel,
            ("GET", "/v1/fine_tuning/jobs/{id}/events"): self.events,
            ("GET", "/v1/fine_tuning/jobs/{id}/checkpoints"): self.list_checkpoints,
            ("GET", "/v1/models/{id}"): self.model,
            ("POST", "/v1/chat/completions"): self.chat,
        }
        for (method, path), handle in routes.items():
            app.router.add_route(method, path, self._serve(handle.__name__, handle))
        return app

    @property
    def tune(self) -> str:
        """The id of its base."""
        return f"{self.url}#{BASE}"


def answers_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What a tuned model is to know."""
    return {row["input"]: row["target"] for row in json.loads(json.dumps(rows))}
