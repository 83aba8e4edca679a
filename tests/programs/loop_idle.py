# An asyncio server that nobody asks, with a timer: idle, no serial-awaits.
import asyncio
import sys


async def serve(reader, writer):
    writer.close()


async def main(seconds):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    for _ in range(int(seconds * 2)):
        await asyncio.sleep(0.5)
    server.close()


asyncio.run(main(float(sys.argv[1])))
