"""A server's files and fine-tuning jobs in OpenAI's form.

What becomes of a write whose reply was lost is decided in provider_jobs.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shouldtune.errors import NotTrained
from shouldtune.tuning.provider_client import Client, JobPatience, Lost, Plain, Refused, plain
from shouldtune.tuning.training_file import TrainingFile

READ_TIMEOUT_S, WRITE_TIMEOUT_S = 30.0, 600.0
MARK = "shouldtune"
"""The key of our mark in a job's metadata."""
MOST_LISTED = 20_000


@dataclass(frozen=True)
class Order:
    """One training."""

    model_id: str
    """The base as a task file names it."""
    base: str
    """The same by its name at the provider."""
    file: TrainingFile
    epochs: int
    mark: str
    """Hash of all that decides the result, and of where it is made: the job bears it."""

    @property
    def suffix(self) -> str:
        """Part of the tuned model's name: the mark again, as long as every provider takes."""
        return f"st-{self.mark[:12]}"

    @property
    def most_tokens(self) -> int:
        """That can be billed, all epochs together."""
        return self.file.most_tokens * self.epochs


class Provider:
    """One server. Raises CannotMeasure where its key is refused, or it cannot be reached for long."""

    def __init__(self, base_url: str, key_variable: str, patience: JobPatience = JobPatience()) -> None:
        self._client = Client(base_url, key_variable, patience)
        self.host, self.patience = self._client.host, patience

    # ------------------------------------------------------------ reads: tried again

    async def find_file(self, name: str, size: int) -> str | None:
        """The id of the file of this name and size; None where there is none. Refused where files are not listed."""

        async def look() -> str | None:
            async for each in self._client.open().files.list(purpose="fine-tune", timeout=READ_TIMEOUT_S):
                file = plain(each)
                if file.get("filename") == name and file.get("bytes") in (size, None) and file.get("status") != "error":
                    return str(file["id"])
            return None

        return await self._client.read(look)

    async def find_job(self, order: Order, file_id: str, others: Collection[str]) -> Plain | None:
        """The job that bears our mark, or where a server keeps no marks, that trains this base on our file.

        Of several the one that got farthest, and none of `others`. Refused where jobs are not listed.
        """

        async def look() -> Plain | None:
            found, seen = [], 0
            async for each in self._client.open().fine_tuning.jobs.list(limit=100, timeout=READ_TIMEOUT_S):
                job = plain(each)
                if job.get("id") not in others and _is_ours(job, order, file_id):
                    found.append(job)
                seen += 1
                if seen >= MOST_LISTED:
                    break
            rank = {"succeeded": 0, "failed": 2, "cancelled": 2}
            return min(found, key=lambda job: rank.get(job.get("status", ""), 1), default=None)

        return await self._client.read(look)

    async def job(self, job_id: str) -> Plain:
        """How a job stands."""
        return await self._client.read(
            lambda: self._client.one(self._client.open().fine_tuning.jobs.retrieve(job_id, timeout=READ_TIMEOUT_S))
        )

    async def events(self, job_id: str) -> list[Plain]:
        """What a job tells, the oldest first; nothing where the server tells nothing."""

        async def look() -> list[Plain]:
            page = await self._client.open().fine_tuning.jobs.list_events(job_id, limit=50, timeout=READ_TIMEOUT_S)
            return [plain(event) for event in reversed(page.data or [])]

        try:
            return await self._client.read(look)
        except Refused:
            return []

    async def checkpoints(self, job_id: str) -> list[Plain]:
        """Models from before the end of training, the earliest first; none where the server keeps none."""

        async def look() -> list[Plain]:
            listed = self._client.open().fine_tuning.jobs.checkpoints.list(job_id, limit=100, timeout=READ_TIMEOUT_S)
            return sorted([plain(each) async for each in listed], key=lambda each: each.get("step_number") or 0)

        try:
            return await self._client.read(look)
        except Refused:
            return []

    async def is_ready(self, model: str) -> bool:
        """Whether a model is listed; True where the server cannot be asked."""
        try:
            await self._client.once(self._client.open().models.retrieve(model, timeout=READ_TIMEOUT_S))
        except Refused as error:
            return error.status != 404
        except Lost:
            return True
        return True

    # ------------------------------------------------------------ writes: never tried again

    async def upload(self, name: str, content: bytes) -> str:
        """Send a file; returns its id. Refused, Busy, Lost."""
        file = (name, content, "application/jsonl")
        sent = self._client.open().files.create(file=file, purpose="fine-tune", timeout=WRITE_TIMEOUT_S)
        return str((await self._client.one(sent))["id"])

    async def start(self, order: Order, file_id: str) -> Plain:
        """Start a job. Refused, Busy, Lost."""
        sent = self._client.open().fine_tuning.jobs.create(
            model=order.base,
            training_file=file_id,
            suffix=order.suffix,
            metadata={MARK: order.mark},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": order.epochs}}},
            timeout=WRITE_TIMEOUT_S,
        )
        return await self._client.one(sent)

    async def cancel(self, job_id: str) -> Plain:
        """Ask for the end of a job. Refused, Busy, Lost."""
        return await self._client.one(self._client.open().fine_tuning.jobs.cancel(job_id, timeout=READ_TIMEOUT_S))

    async def aclose(self) -> None:
        await self._client.aclose()


def closed(host: str, model: str, error: Refused) -> NotTrained:
    """What a refusal to train comes to, in one line."""
    words = str(error).lower()
    ends = ("not available", "no longer", "not supported", "not allowed", "not enabled", "deprecated", "does not exist")
    if error.status in (403, 404, 405, 410, 501) or any(end in words for end in ends):
        return NotTrained(f"{host} does not offer fine-tuning of {model} (HTTP {error.status}: {error})")
    return NotTrained(f"{host} refused to train {model} (HTTP {error.status}: {error})")


def _is_ours(job: Plain, order: Order, file_id: str) -> bool:
    """By our mark; where the server keeps none, by the suffix or the file, which carry hashes of ours."""
    kept = job.get("metadata")
    if isinstance(kept, Mapping) and MARK in kept:
        return bool(kept[MARK] == order.mark)
    if job.get("user_provided_suffix") is not None:
        return bool(job["user_provided_suffix"] == order.suffix)
    return job.get("training_file") == file_id and str(job.get("model", "")).startswith(order.base)
