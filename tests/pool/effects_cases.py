# mypy: ignore-errors
"""Functions that change something, as their users write them: what test_effects.py has allcores.map() call.

Each case makes a function anew and what tells the state that it leaves. `effects_more.py` has those whose state is not
a plain container: modules, files, objects of the standard library.
"""

from __future__ import annotations

import array
import bisect
import collections
import functools
import heapq
import operator
import types

CASES = []
LATE = 410  # an item that comes when the work would have left long ago


def case(make):
    CASES.append(make)
    return make


def work(x: int) -> int:
    """Some 30 us, a number that depends on x."""
    for _ in range(500):
        x = (x * 3 + 1) % 1009
    return x


# --- what is closed over


@case
def list_append():
    seen = []

    def f(x):
        seen.append(work(x))
        return len(seen)

    return f, lambda: seen


@case
def list_extend_in_place():
    seen = []

    def f(x):
        nonlocal seen
        seen += [work(x)]
        return len(seen)

    return f, lambda: seen


@case
def list_item():
    seen = [0] * 10

    def f(x):
        seen[x % 10] += work(x)
        return seen[x % 10]

    return f, lambda: seen


@case
def list_slice():
    seen = list(range(20))

    def f(x):
        seen[2:4] = [work(x), seen[5]]
        return seen[2]

    return f, lambda: seen


@case
def list_delete():
    seen = list(range(2000))

    def f(x):
        work(x)
        del seen[x % 7]
        return seen[0]

    return f, lambda: seen


@case
def list_pop_and_insert():
    seen = list(range(100))

    def f(x):
        seen.insert(0, work(x) + seen.pop())
        return seen[0]

    return f, lambda: seen


@case
def list_sort():
    seen = [5, 3, 9]

    def f(x):
        work(x)
        seen.sort(key=lambda one: (one * x) % 11)
        return list(seen)

    return f, lambda: seen


@case
def dict_count():
    count = {}

    def f(x):
        key = work(x) % 7
        count[key] = count.get(key, 0) + 1
        return count[key]

    return f, lambda: count


@case
def dict_setdefault():
    groups = {}

    def f(x):
        groups.setdefault(work(x) % 5, []).append(x)
        return len(groups)

    return f, lambda: groups


@case
def dict_update():
    table = {}

    def f(x):
        table.update({work(x): x})
        return len(table)

    return f, lambda: table


@case
def dict_or_in_place():
    holder = [{}]

    def f(x):
        holder[0] |= {work(x): x}
        return len(holder[0])

    return f, lambda: holder


@case
def memo_by_hand():
    memo = {}

    def f(x):
        key = x % 50
        if key not in memo:
            memo[key] = (work(x), x)
        work(x)
        return memo[key]

    return f, lambda: memo


@case
def set_add():
    seen = set()

    def f(x):
        seen.add(work(x))
        return len(seen)

    return f, lambda: sorted(seen)


@case
def set_in_place():
    holder = types.SimpleNamespace(seen=set())

    def f(x):
        holder.seen |= {work(x)}
        return len(holder.seen)

    return f, lambda: sorted(holder.seen)


@case
def deque_rotate():
    ring = collections.deque(range(10), maxlen=10)

    def f(x):
        ring.appendleft(work(x))
        ring.rotate(3)
        return ring[0]

    return f, lambda: ring


@case
def defaultdict_of_lists():
    groups = collections.defaultdict(list)

    def f(x):
        groups[work(x) % 3].append(x)
        return len(groups[0])

    return f, lambda: dict(groups)


@case
def defaultdict_that_is_only_read():
    table = collections.defaultdict(int)

    def f(x):
        work(x)
        return table[x % 9] + len(table)

    return f, lambda: dict(table)


@case
def counter_update():
    count = collections.Counter()

    def f(x):
        count.update([work(x) % 3])
        return count.total()

    return f, lambda: sorted(count.items())


@case
def counter_item():
    count = collections.Counter()

    def f(x):
        count[work(x) % 3] += 1
        return count[0]

    return f, lambda: sorted(count.items())


@case
def ordered_dict_to_its_end():
    order = collections.OrderedDict.fromkeys(range(5))

    def f(x):
        work(x)
        order.move_to_end(x % 5)
        return list(order)

    return f, lambda: list(order)


@case
def chain_map():
    layers = collections.ChainMap({}, {"a": 1})

    def f(x):
        layers["n"] = layers.get("n", 0) + work(x)
        return layers["n"]

    return f, lambda: layers


@case
def bytearray_item():
    data = bytearray(16)

    def f(x):
        data[x % 16] = (data[x % 16] + work(x)) % 256
        return data[0]

    return f, lambda: data


@case
def memoryview_item():
    data = bytearray(16)
    view = memoryview(data)

    def f(x):
        view[x % 16] = (view[x % 16] + work(x)) % 256
        return view[0]

    return f, lambda: data


@case
def array_item():
    data = array.array("q", [0] * 8)

    def f(x):
        data[x % 8] += work(x)
        return data[0]

    return f, lambda: data


@case
def array_append():
    data = array.array("q")

    def f(x):
        data.append(work(x))
        return len(data)

    return f, lambda: data


@case
def heap():
    queue = []

    def f(x):
        heapq.heappush(queue, work(x))
        return heapq.heappop(queue) if len(queue) > 5 else None

    return f, lambda: queue


@case
def insort():
    ordered = []

    def f(x):
        bisect.insort(ordered, work(x))
        return ordered[0]

    return f, lambda: ordered


@case
def operator_iadd():
    seen = []

    def f(x):
        operator.iadd(seen, [work(x)])
        return len(seen)

    return f, lambda: seen


@case
def operator_setitem():
    table = {}

    def f(x):
        operator.setitem(table, work(x), x)
        return len(table)

    return f, lambda: table


@case
def nested_two_levels_down():
    table = {"rows": {"last": [0]}}

    def f(x):
        table["rows"]["last"][0] += work(x)
        return table["rows"]["last"][0]

    return f, lambda: table


@case
def through_a_local_name():
    seen = []

    def f(x):
        target = other = seen
        target.append(work(x))
        return len(other)

    return f, lambda: seen


@case
def through_an_unpacked_name():
    pair = ([], {})

    def f(x):
        rows, _ = pair
        rows.append(work(x))
        return len(rows)

    return f, lambda: pair


@case
def through_a_loop():
    lists = [[], []]

    def f(x):
        for one in lists:
            one.append(work(x))
        return len(lists[0])

    return f, lambda: lists


@case
def through_a_comprehension():
    seen = []

    def f(x):
        return [seen.append(work(x + i)) for i in range(2)], len(seen)

    return f, lambda: seen


@case
def through_a_conditional():
    odd, even = [], []

    def f(x):
        (odd if x % 2 else even).append(work(x))
        return len(odd), len(even)

    return f, lambda: (odd, even)


@case
def in_a_with_and_a_finally():
    seen = []

    def f(x):
        try:
            return work(x) + len(seen)
        finally:
            seen.append(x)

    return f, lambda: seen


@case
def in_an_except():
    failed = []

    def f(x):
        try:
            return work(x) // (x % 3)
        except ZeroDivisionError:
            failed.append(x)
            return len(failed)

    return f, lambda: failed


@case
def only_at_a_late_item():
    seen = []

    def f(x):
        if x == LATE:
            seen.append(x)
        return work(x) + len(seen)

    return f, lambda: seen


@case
def only_at_a_late_item_in_a_helper():
    table = {"factor": 1}

    def adjust(into, x):
        if x >= LATE:
            into["factor"] = x

    def f(x):
        adjust(table, x)
        return work(x) * table["factor"]

    return f, lambda: table


@case
def rebinds_nonlocal():
    n = 0

    def f(x):
        nonlocal n
        n += work(x)
        return n

    return f, lambda: n


@case
def rebinds_nonlocal_of_a_helper():
    n = 0

    def count():
        nonlocal n
        n += 1
        return n

    def f(x):
        return work(x) + count()

    return f, lambda: n


@case
def two_helpers_down():
    seen = []

    def deepest(x):
        seen.append(x)
        return len(seen)

    def middle(x):
        return deepest(x) + 1

    def f(x):
        return work(x) + middle(x)

    return f, lambda: seen


@case
def helper_that_is_given_it():
    seen = []

    def put(into, x):
        into.append(x)

    def f(x):
        put(seen, work(x))
        return len(seen)

    return f, lambda: seen


@case
def helper_kept_in_a_dict():
    seen = []
    actions = {"go": lambda x: seen.append(x)}

    def f(x):
        actions["go"](work(x))
        return len(seen)

    return f, lambda: seen


@case
def lambda_with_append():
    seen = []
    return lambda x: (seen.append(work(x)), len(seen))[1], lambda: seen


@case
def lambda_with_setdefault():
    seen = {}
    return lambda x: seen.setdefault(work(x), x), lambda: seen


@case
def walrus_and_setitem():
    seen = {}
    return lambda x: (y := work(x)) + (seen.__setitem__(y, x) or len(seen)), lambda: seen


@case
def argument_default():
    def f(x, seen=[]):  # noqa: B006
        seen.append(work(x))
        return len(seen)

    return f, lambda: f.__defaults__


@case
def keyword_default():
    def f(x, *, seen={}):  # noqa: B006
        seen[work(x)] = x
        return len(seen)

    return f, lambda: f.__kwdefaults__


@case
def functions_own_attribute():
    def f(x):
        f.calls += 1
        return work(x) + f.calls

    f.calls = 0
    return f, lambda: f.calls


# --- globals

total = 0
listed = []
table = {}


def module_level(x):
    listed.append(work(x))
    return len(listed)


@case
def module_level_function():
    listed.clear()
    return module_level, lambda: listed


def module_level_rebinds(x):
    global total
    total += work(x)
    return total


@case
def module_level_global():
    global total
    total = 0
    return module_level_rebinds, lambda: total


@case
def global_by_globals():
    table.clear()

    def f(x):
        globals()["table"][work(x)] = x
        return len(table)

    return f, lambda: table


@case
def global_rebound_by_globals():
    global total
    total = 0

    def f(x):
        globals()["total"] = total + work(x)
        return total

    return f, lambda: total


@case
def global_by_exec():
    global total
    total = 0

    def f(x):
        exec("global total\ntotal += 1", globals())
        return work(x) + total

    return f, lambda: total


@case
def global_by_eval():
    listed.clear()

    def f(x):
        eval("listed.append(x)", globals(), {"x": x})
        return work(x) + len(listed)

    return f, lambda: listed


@case
def exec_of_a_compiled_text():
    space = {"n": 0}
    code = compile("n += 1", "text", "exec")

    def f(x):
        exec(code, space)
        return work(x) + space["n"]

    return f, lambda: space["n"]


@case
def row_of_a_table():
    rows = [[0]] * 7
    return lambda x: (rows[x % 7].append(work(x)), len(rows[0]))[1], lambda: rows


# --- callables that are no functions


@case
def bound_append():
    seen = []

    class Slow(list):
        def append(self, x):
            super().append(work(x))

    seen = Slow()
    return seen.append, lambda: seen


@case
def partial_of_a_writer():
    seen = []

    def put(into, x):
        into.append(work(x))
        return len(into)

    return functools.partial(put, seen), lambda: seen


@case
def partial_by_keyword():
    seen = []

    def put(x, into):
        into.append(work(x))
        return len(into)

    return functools.partial(put, into=seen), lambda: seen


@case
def reduce_with_a_writer():
    seen = []

    def f(x):
        return functools.reduce(lambda into, one: (into.append(one), into)[1], [work(x)], seen)[-1], len(seen)

    return f, lambda: seen


@case
def map_of_append():
    seen = []

    def f(x):
        list(map(seen.append, [work(x)]))
        return len(seen)

    return f, lambda: seen


@case
def method_kept_in_a_local():
    seen = []

    def f(x):
        put = seen.append
        put(work(x))
        return len(seen)

    return f, lambda: seen


@case
def method_kept_in_a_cell():
    seen = []
    put = seen.append

    def f(x):
        put(work(x))
        return x

    return f, lambda: seen


@case
def method_by_getattr():
    seen = []

    def f(x):
        getattr(seen, "app" + "end")(work(x))
        return len(seen)

    return f, lambda: seen


@case
def method_by_methodcaller():
    seen = []

    def f(x):
        operator.methodcaller("append", work(x))(seen)
        return len(seen)

    return f, lambda: seen


@case
def method_of_the_class():
    seen = []

    def f(x):
        list.append(seen, work(x))
        return len(seen)

    return f, lambda: seen


@case
def star_arguments():
    seen = []

    def put(*args, **more):
        args[0].append(more["x"])

    def f(x):
        put(*[seen], **{"x": work(x)})
        return len(seen)

    return f, lambda: seen


@case
def decorator_that_counts():
    calls = {}

    def counted(fn):
        @functools.wraps(fn)
        def wrapper(*args):
            calls[fn.__name__] = calls.get(fn.__name__, 0) + 1
            return fn(*args), calls[fn.__name__]

        return wrapper

    return counted(work), lambda: calls


@case
def decorator_twice():
    log = []

    def logged(fn):
        def wrapper(*args):
            result = fn(*args)
            log.append(result)
            return result, len(log)

        return wrapper

    return logged(logged(work)), lambda: log
