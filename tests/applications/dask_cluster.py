"""Tasks on a Dask cluster of two processes on this machine: dask_cluster.py SECONDS"""

import sys
import time

from dask.distributed import Client, LocalCluster


def words(number):
    return sum(len(str(i).split("7")) for i in range(number, number + 100_000))


if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        until = time.monotonic() + float(sys.argv[1])
        while time.monotonic() < until:
            total = sum(client.gather(client.map(words, range(60), pure=False)))
    print(total)
