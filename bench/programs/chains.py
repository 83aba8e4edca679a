"""chains.py SECONDS: call chains a_* and b_* take turns every 250 us; a stack with both is torn."""

import sys
import time

until = time.monotonic() + float(sys.argv[1])


def a_leaf():
    end = time.perf_counter() + 250e-6
    while time.perf_counter() < end:
        pass


def a_0():
    a_leaf()


def a_1():
    a_0()


def a_2():
    a_1()


def a_3():
    a_2()


def a_4():
    a_3()


def a_5():
    a_4()


def a_6():
    a_5()


def a_7():
    a_6()


def b_leaf():
    end = time.perf_counter() + 250e-6
    while time.perf_counter() < end:
        pass


def b_0():
    b_leaf()


def b_1():
    b_0()


def b_2():
    b_1()


def b_3():
    b_2()


def b_4():
    b_3()


def b_5():
    b_4()


def b_6():
    b_5()


def b_7():
    b_6()


while time.monotonic() < until:
    a_7()
    b_7()
