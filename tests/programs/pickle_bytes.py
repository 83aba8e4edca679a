# Images through a pool and back, a copy each way, and hardly any work on them: pickling.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def crop(image):
    return image[16:]


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    images = [bytes(8_000_000) for _ in range(4)]
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            images = [image + bytes(16) for image in executor.map(crop, images)]
