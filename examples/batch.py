"""A batch job as people write it: eight chunks of work in eight threads, to use all cores. It does not."""

import sys
from concurrent.futures import ThreadPoolExecutor


def transform(chunk):
    total = 0
    for i in range(chunk, chunk + SIZE):
        total += i * i % 7
    return total


SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000
chunks = range(8)

with ThreadPoolExecutor(max_workers=8) as executor:
    results = list(executor.map(transform, chunks))

print("total:", sum(results))
