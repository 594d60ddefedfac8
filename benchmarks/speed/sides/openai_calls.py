"""The official client, 64 calls at once, nothing recorded; a third argument is a folder with another version."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

url, calls = sys.argv[1], int(sys.argv[2])
sys.path[1:1] = sys.argv[3:]
from openai import AsyncOpenAI
from turns import take_turns

INSTRUCTION = "Classify the sentiment as positive or negative. " * 8


async def run() -> int:
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    places = asyncio.Semaphore(64)

    async def ask(number: int) -> bool:
        async with places:
            reply = await client.chat.completions.create(
                model="waits",
                messages=[
                    {"role": "system", "content": INSTRUCTION},
                    {"role": "user", "content": f"Text {number}: I like this film a lot, it is well made."},
                ],
                temperature=0,
            )
        return reply.choices[0].message.content == "positive"

    answers = await asyncio.gather(*(ask(number) for number in range(calls)))
    await client.close()
    return sum(answers)


def work() -> dict[str, Any]:
    return {"right": asyncio.run(run())}


take_turns(work)
