"""The asynchronous client, on plain asyncio."""

import asyncio

import openai
import pytest

from harness import talk


def run(server, scenario):
    async def main():
        async with server.new_client(openai.AsyncOpenAI) as client:
            await asyncio.wait_for(scenario(client.beta.agents.sessions), timeout=30)

    asyncio.run(main())


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_async_client(server, mark, model):
    async def scenario(sessions):
        stream = await sessions.create(
            agent={"model": model}, environment=talk.NONE, input=f"say {mark}", stream=True
        )
        first = await stream.get_final_result()
        assert first.output_text == mark
        async with sessions.stream(first.session_id, input=f"recall {mark}") as stream:
            assert (await stream.get_final_result()).output_text == f"You said {mark}"
        found = [item async for item in sessions.items.list(first.session_id, order="asc", limit=1)]
        assert len(found) == 4
        with pytest.raises(openai.NotFoundError):
            await sessions.retrieve("sess_missing")

    run(server, scenario)


def test_async_function_handlers(server, mark):
    async def weather(arguments):
        return f"sunny in {arguments['city']}"

    async def scenario(sessions):
        stream = await sessions.create(
            agent={"model": "m1", "tools": [talk.function()]},
            environment=talk.NONE,
            input=f"weather in Paris {mark}",
            stream=True,
            tool_handlers={"get_weather": weather},
        )
        assert (await stream.get_final_result()).output_text == "Weather: sunny in Paris"

    run(server, scenario)


def test_async_parallel_streams(server, mark):
    async def one(sessions, number):
        stream = await sessions.create(
            agent={"model": "m1"}, environment=talk.NONE, input=f"say {number} {mark}", stream=True
        )
        return (await stream.get_final_result()).output_text

    async def scenario(sessions):
        answers = await asyncio.gather(*(one(sessions, number) for number in range(16)))
        assert answers == [f"{number} {mark}" for number in range(16)]

    run(server, scenario)
