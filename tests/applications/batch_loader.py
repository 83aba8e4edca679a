# Two processes that make batches in Python and call themselves as PyTorch's DataLoader calls its workers:
# all-cores-busy, and named so.
import ctypes
import multiprocessing
import sys


def load(indices, batches):
    ctypes.CDLL(None).prctl(15, b"pt_data_worker")  # PR_SET_NAME, as torch.utils.data does
    for index in iter(indices.get, None):
        batches.put([sum(i * i % 7 for i in range(100_000)) + index for _ in range(8)])


if __name__ == "__main__":
    count = int(12 * float(sys.argv[1]))
    indices, batches = multiprocessing.Queue(), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=load, args=(indices, batches)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for index in range(count):
        indices.put(index)
    for _ in range(count):
        batches.get()
    for _ in workers:
        indices.put(None)
    for worker in workers:
        worker.join()
