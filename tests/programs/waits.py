# One thread each that waits in a pipe, a socket, a lock and a sleep: one thread's life in io, io, lock and sleep.
import os
import socket
import sys
import threading
import time

SECONDS = float(sys.argv[1])
reader, writer = os.pipe()
near, far = socket.socketpair()
lock = threading.Lock()
lock.acquire()


def wait_pipe():
    os.read(reader, 1)


def wait_socket():
    near.recv(1)


def wait_lock():
    lock.acquire()


def wait_sleep():
    time.sleep(SECONDS)


threads = [threading.Thread(target=wait) for wait in (wait_pipe, wait_socket, wait_lock, wait_sleep)]
for thread in threads:
    thread.start()
time.sleep(SECONDS)
os.write(writer, b"x")
far.send(b"x")
lock.release()
for thread in threads:
    thread.join()
