import asyncio
import tram.aio

async def main():
    async with tram.aio.Node(None, "1.0.0.2") as node:
        async for message in node:
            await node.send(message.from_, message.data)

asyncio.run(main())
