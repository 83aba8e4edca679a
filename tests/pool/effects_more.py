# mypy: ignore-errors
"""More functions that change something: objects with state, the standard library's, modules, files, the process."""

from __future__ import annotations

import contextvars
import copy
import csv
import dataclasses
import datetime
import decimal
import enum
import functools
import hashlib
import io
import itertools
import logging
import os
import queue
import random
import sqlite3
import sys
import tempfile
import threading
import time
import types
import typing
import warnings
import weakref

from effects_cases import CASES, LATE, case, work

__all__ = ["CASES"]  # of both files

calls = 0

# --- objects


class Account:
    total = 0
    seen = []
    __slots__ = ("__dict__", "__weakref__", "balance")

    def __init__(self):
        self.balance = 0
        self.history = []
        self._last = 0

    def pay(self, x):
        self.balance += work(x)
        return self.balance

    def note(self, x):
        self.history.append(work(x))
        return len(self.history)

    def __call__(self, x):
        self.balance += work(x)
        return self.balance

    @property
    def last(self):
        self._last += 1
        return self._last

    @last.setter
    def last(self, x):
        self._last = x

    @classmethod
    def count(cls, x):
        cls.total += work(x)
        return cls.total

    @staticmethod
    def collect(x):
        Account.seen.append(work(x))
        return len(Account.seen)

    def helper(self, x):
        return self._inner(x)

    def _inner(self, x):
        self.history.append(x)
        return work(x) + len(self.history)


@case
def namespace_attribute():
    thing = types.SimpleNamespace(last=0)

    def f(x):
        before, thing.last = thing.last, work(x)
        return before

    return f, lambda: thing


@case
def behind_a_large_table():
    global calls
    calls = 0
    table = dict.fromkeys(range(200_000), 1)

    def f(x, table=table):
        return work(x) + table[x % 1000], one_more_call()

    return f, lambda: calls


def one_more_call():
    global calls
    calls += 1
    return calls


@dataclasses.dataclass
class Job:
    number: int
    done = 0
    failed = False

    def run(self):
        Job.done += 1
        return work(self.number), Job.done

    def note(self):
        if self.number == LATE:
            self.failed = True
        return work(self.number)


@dataclasses.dataclass
class Scaled:
    number: int
    factors = [3]  # that a worker has, too, when it imports this module

    def scaled(self):
        return work(self.number) * self.factors[0]


@case
def items_whose_class_counts():
    Job.done = 0
    return lambda job: job.run(), lambda: Job.done, [Job(x) for x in range(800)]


@case
def items_that_change_late():
    jobs = [Job(x) for x in range(800)]
    return lambda job: job.note(), lambda: [job.failed for job in jobs], jobs


@case
def items_that_are_functions():
    global calls
    calls = 0

    def plain():
        return work(3)

    def counts():
        return work(5), one_more_call()

    return lambda one: one(), lambda: calls, [plain, counts] * 400


class Handlers(typing.NamedTuple):
    run: object


@dataclasses.dataclass
class Slotted:
    __slots__ = ("run",)
    run: object


def handled(make):
    global calls
    calls = 0
    both = [make(lambda x: (work(x), one_more_call())), make(lambda x: work(x))]
    return lambda x: both[x % 2].run(x), lambda: calls


@case
def named_tuple_of_functions():
    return handled(Handlers)


@case
def slots_of_functions():
    return handled(Slotted)


@case
def namespace_of_functions():
    return handled(lambda fn: types.SimpleNamespace(run=fn))


@case
def namespace_of_objects():
    bank = types.SimpleNamespace(accounts=[Account() for _ in range(5)])
    return lambda x: bank.accounts[x % 5].pay(x), lambda: [one.balance for one in bank.accounts]


@case
def key_that_is_a_function():
    global calls
    calls = 0
    table = {(lambda x: (work(x), one_more_call())): "counts"}

    def f(x):
        for one in table:
            return one(x)

    return f, lambda: calls


@case
def named_at_run_time():
    global calls
    calls = 0
    return lambda x: (work(x), globals()["one_more" + "_call"]()), lambda: calls


NOT_FOUND = object()


@case
def sentinel_that_comes_late():
    def f(x):
        return NOT_FOUND if x >= LATE else work(x)

    return f, lambda: None, range(800)


class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@case
def loggings_own_function():
    root = logging.getLogger()
    for one in [one for one in root.handlers if isinstance(one, Records)]:
        root.removeHandler(one)
    records = Records()
    root.addHandler(records)

    def f(x):
        logging.warning("%d", work(x))

    return f, lambda: sorted(records.texts)


@case
def attribute_in_place():
    account = Account()

    def f(x):
        account.balance += work(x)
        return account.balance

    return f, lambda: account.balance


@case
def method_that_adds():
    account = Account()
    return account.pay, lambda: account.balance


@case
def method_that_appends():
    account = Account()
    return account.note, lambda: account.history


@case
def method_that_calls_another():
    account = Account()
    return account.helper, lambda: account.history


@case
def method_within_a_function():
    account = Account()
    return lambda x: account.pay(x) + 1, lambda: account.balance


@case
def callable_object():
    account = Account()
    return account, lambda: account.balance


@case
def property_that_counts():
    account = Account()
    return lambda x: work(x) + account.last, lambda: account._last


@case
def property_that_sets():
    account = Account()

    def f(x):
        before = account._last
        account.last = work(x)
        return before

    return f, lambda: account._last


@case
def class_method():
    Account.total = 0
    return Account.count, lambda: Account.total


@case
def static_method():
    Account.seen.clear()
    return Account.collect, lambda: Account.seen


@case
def class_attribute():
    class Local:
        n = 0

    def f(x):
        Local.n += work(x)
        return Local.n

    return f, lambda: Local.n


@case
def class_attribute_by_type():
    class Local:
        n = 0

        def step(self, x):
            type(self).n += work(x)
            return type(self).n

    return Local().step, lambda: Local.n


@case
def counts_its_instances():
    class Counted:
        made = 0

        def __init__(self):
            Counted.made += 1

    def f(x):
        Counted()
        return work(x) + Counted.made

    return f, lambda: Counted.made


@case
def subclass_registry():
    class Base:
        known = []

        def __init_subclass__(cls):
            Base.known.append(cls.__name__)

    def f(x):
        type(f"Sub{x}", (Base,), {})
        return work(x) + len(Base.known)

    return f, lambda: Base.known


@case
def by_setattr():
    thing = types.SimpleNamespace(n=0)

    def f(x):
        setattr(thing, "n", thing.n + work(x))  # noqa: B010
        return thing.n

    return f, lambda: thing.n


@case
def by_vars():
    thing = types.SimpleNamespace(n=0)

    def f(x):
        vars(thing)["n"] += work(x)
        return thing.n

    return f, lambda: thing.n


@case
def by_dict_update():
    thing = types.SimpleNamespace(n=0)

    def f(x):
        thing.__dict__.update(n=thing.n + work(x))
        return thing.n

    return f, lambda: thing.n


@case
def by_object_setattr():
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int = 0

    point = Point()

    def f(x):
        object.__setattr__(point, "x", point.x + work(x))
        return point.x

    return f, lambda: point.x


@case
def slots():
    class Slotted:
        __slots__ = ("n",)

    thing = Slotted()
    thing.n = 0

    def f(x):
        thing.n += work(x)
        return thing.n

    return f, lambda: thing.n


@case
def dataclass_field():
    @dataclasses.dataclass
    class Bag:
        rows: list = dataclasses.field(default_factory=list)

        def add(self, x):
            self.rows.append(x)

    bag = Bag()

    def f(x):
        bag.add(work(x))
        return len(bag.rows)

    return f, lambda: bag.rows


@case
def enum_members_attribute():
    class Color(enum.Enum):
        RED = 1

    Color.RED.uses = 0

    def f(x):
        Color.RED.uses += 1
        return work(x) + Color.RED.uses

    return f, lambda: Color.RED.uses


@case
def operator_of_the_class():
    class Sum:
        def __init__(self):
            self.n = 0

        def __iadd__(self, x):
            self.n += x
            return self

    holder = [Sum()]

    def f(x):
        holder[0] += work(x)
        return holder[0].n

    return f, lambda: holder[0].n


@case
def lookup_of_the_class():
    class Table:
        def __init__(self):
            self.asked = []

        def __getitem__(self, key):
            self.asked.append(key)
            return len(self.asked)

    lookup = Table()
    return lambda x: work(x) + lookup[x], lambda: lookup.asked


@case
def attribute_made_on_demand():
    class Lazy:
        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            self.__dict__[name] = len(self.__dict__)
            return self.__dict__[name]

    lazy = Lazy()
    return lambda x: work(x) + getattr(lazy, f"a{x}"), lambda: sorted(vars(lazy).items())


@case
def cached_property():
    class Late:
        made = 0

        @functools.cached_property
        def value(self):
            Late.made += 1
            return Late.made

    late = Late()
    return lambda x: work(x) + (late.value if x >= LATE else 0), lambda: (vars(late), Late.made)


@case
def context_manager():
    class Depth:
        entered = 0

        def __enter__(self):
            self.entered += 1
            return self.entered

        def __exit__(self, *_):
            return None

    depth = Depth()

    def f(x):
        with depth as n:
            return work(x) + n

    return f, lambda: depth.entered


@case
def weak_dictionary():
    keys = [Account() for _ in range(5)]
    table = weakref.WeakKeyDictionary()

    def f(x):
        key = keys[x % 5]
        table[key] = table.get(key, 0) + work(x)
        return table[key]

    return f, lambda: [table[key] for key in keys]


@case
def weak_reference():
    account = Account()
    weak = weakref.ref(account)

    def f(x):
        weak().balance += work(x)
        return weak().balance

    return f, lambda: account.balance


@case
def linked_nodes():
    class Node:
        def __init__(self):
            self.next, self.value = None, 0

    first = Node()
    first.next = Node()

    def f(x):
        first.next.value += work(x)
        return first.next.value

    return f, lambda: first.next.value


# --- iterators


@case
def generator():
    def numbers():
        n = 1
        while True:
            n = n * 5 % 10007
            yield n

    source = numbers()
    return lambda x: work(x) + next(source), lambda: next(source)


@case
def generator_send():
    def sums():
        n = 0
        while True:
            n += yield n

    adder = sums()
    next(adder)
    return lambda x: adder.send(work(x)), lambda: adder.send(0)


@case
def counter_of_itertools():
    numbers = itertools.count()
    return lambda x: (next(numbers), work(x)), lambda: next(numbers)


@case
def cycle():
    colors = itertools.cycle("abc")
    return lambda x: (next(colors), work(x)), lambda: next(colors)


@case
def iterator_in_a_loop():
    numbers = iter(range(10**6))

    def f(x):
        for n in numbers:
            return work(x) + n

    return f, lambda: next(numbers)


@case
def iterator_by_zip():
    numbers = iter(range(10**6))
    return lambda x: (list(zip([work(x)], numbers, strict=False)), x), lambda: next(numbers)


@case
def iterator_by_islice():
    numbers = iter(range(10**6))
    return lambda x: (work(x), list(itertools.islice(numbers, 2))), lambda: next(numbers)


@case
def iterator_in_an_object():
    thing = types.SimpleNamespace(ids=itertools.count())
    return lambda x: (work(x), next(thing.ids)), lambda: next(thing.ids)


@case
def iterator_of_the_users():
    class Up:
        n = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.n += 1
            return self.n

    up = Up()
    return lambda x: work(x) + next(up), lambda: up.n


@case
def iterator_as_a_default():
    def f(x, ids=itertools.count()):  # noqa: B008
        return work(x), next(ids)

    return f, lambda: next(f.__defaults__[0])


@case
def iterator_bound():
    numbers = iter(range(10**6))
    step = numbers.__next__
    return lambda x: work(x) + step(), lambda: next(numbers)


# --- the standard library's state


@case
def random_module():
    random.seed(5)
    return lambda x: (work(x), random.random()), random.random


@case
def random_module_at_a_late_item():
    random.seed(5)
    return lambda x: (work(x), random.randrange(10**6) if x == LATE else 0), random.random


@case
def random_instance():
    dice = random.Random(5)
    return lambda x: (work(x), dice.randint(1, 10**6)), dice.random


@case
def random_method():
    roll = random.Random(5).random
    return lambda x: (work(x), roll()), roll


@case
def shuffle():
    cards = list(range(10))
    random.seed(5)

    def f(x):
        work(x)
        random.shuffle(cards)
        return list(cards)

    return f, lambda: cards


@case
def lru_cache():
    @functools.lru_cache
    def f(x):
        return work(x)

    return f, f.cache_info


@case
def lru_cache_below():
    @functools.lru_cache
    def inner(x):
        return object()

    return lambda x: (work(x), inner(x % 3) is inner(x % 3)), inner.cache_info


@case
def context_variable():
    var = contextvars.ContextVar("var", default=0)

    def f(x):
        var.set(var.get() + work(x))
        return var.get()

    return f, var.get


@case
def thread_local():
    local = threading.local()
    local.n = 0

    def f(x):
        local.n += work(x)
        return local.n

    return f, lambda: local.n


@case
def string_io():
    out = io.StringIO()

    def f(x):
        out.write(f"{work(x)} ")
        return out.tell()

    return f, out.getvalue


@case
def bytes_io_read():
    source = io.BytesIO(bytes(range(250)) * 100)
    return lambda x: (work(x), source.read(3)), source.tell


@case
def print_to_a_stream():
    out = io.StringIO()

    def f(x):
        print(work(x), file=out)
        return out.tell()

    return f, out.getvalue


@case
def csv_writer():
    out = io.StringIO()
    writer = csv.writer(out)

    def f(x):
        writer.writerow([x, work(x)])
        return out.tell()

    return f, out.getvalue


@case
def open_file():
    file = tempfile.TemporaryFile("w+")

    def f(x):
        file.write(f"{work(x)}\n")
        return file.tell()

    return f, lambda: (file.seek(0), file.read())[1]


@case
def appended_file():
    path = os.path.join(tempfile.mkdtemp(), "log")

    def f(x):
        with open(path, "a") as log:
            log.write(f"{work(x)}\n")
            return log.tell()

    return f, lambda: open(path).read()


@case
def file_descriptor():
    read, write = os.pipe()
    os.set_blocking(read, False)

    def f(x):
        os.write(write, b"%d " % work(x))
        return os.read(read, 2)

    return f, lambda: os.read(read, 10**6)


@case
def database():
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("create table seen (x)")

    def f(x):
        db.execute("insert into seen values (?)", (work(x),))
        return db.execute("select count(*) from seen").fetchone()[0]

    return f, lambda: db.execute("select sum(x) from seen").fetchone()


@case
def queue_of_threads():
    jobs = queue.SimpleQueue()

    def f(x):
        jobs.put(work(x))
        return jobs.qsize()

    return f, lambda: [jobs.get() for _ in range(jobs.qsize())]


@case
def hash_object():
    digest = hashlib.sha256()

    def f(x):
        digest.update(b"%d" % work(x))
        return digest.hexdigest()

    return f, digest.hexdigest


@case
def log_handler():
    seen = []
    logger = logging.Logger("effects", logging.INFO)
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(handler)

    def f(x):
        logger.info("made %d", work(x))
        return x

    return f, lambda: sorted(seen)  # what logs may go to threads, as in any thread pool


@case
def warning_registry():
    seen = []
    old, warnings.showwarning = warnings.showwarning, lambda *args: seen.append(str(args[0]))

    def f(x):
        work(x)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"item {x}", stacklevel=1)
        return len(seen)

    def state():
        warnings.showwarning = old
        return seen

    return f, state


@case
def decimal_context():
    context = decimal.Context(prec=5)

    def f(x):
        return context.divide(decimal.Decimal(work(x) + 1), decimal.Decimal(3)), context.flags[
            decimal.Inexact
        ]

    return f, lambda: context.flags[decimal.Inexact]


@case
def copied_and_written():
    rows = [[0], [1]]

    def f(x):
        shallow = copy.copy(rows)
        shallow[0].append(work(x))
        return len(rows[0])

    return f, lambda: rows


# --- the process


@case
def environment():
    os.environ["EFFECTS"] = "0"

    def f(x):
        os.environ["EFFECTS"] = str(int(os.environ["EFFECTS"]) + work(x))
        return os.environ["EFFECTS"]

    return f, lambda: os.environ["EFFECTS"]


@case
def environment_by_putenv():
    os.environ["EFFECTS"] = "0"

    def f(x):
        os.environ.update(EFFECTS=str(int(os.getenv("EFFECTS")) + work(x)))
        return os.getenv("EFFECTS")

    return f, lambda: os.environ["EFFECTS"]


@case
def import_path():
    length = len(sys.path)

    def f(x):
        sys.path.append(f"/nowhere/{work(x)}")
        return len(sys.path) - length

    def state():
        added = sys.path[length:]
        del sys.path[length:]
        return added

    return f, state


@case
def module_attribute():
    module = types.ModuleType("a_module")
    module.n = 0

    def f(x):
        module.n += work(x)
        return module.n

    return f, lambda: module.n


@case
def library_modules_attribute():
    time.effects = 0

    def f(x):
        time.effects += work(x)
        return time.effects

    return f, lambda: time.effects


@case
def import_with_side_effects():
    for name in ("effects_late", "effects_seen"):
        sys.modules.pop(name, None)
    seen = sys.modules["effects_seen"] = types.ModuleType("effects_seen")
    seen.rows = []

    def f(x):
        import effects_seen

        effects_seen.rows.append(work(x))
        return len(effects_seen.rows)

    return f, lambda: seen.rows


@case
def modules_table():
    def f(x):
        name = f"effects_made_{x}"
        sys.modules[name] = types.ModuleType(name)
        return work(x) + sum(one.startswith("effects_made_") for one in [*sys.modules])

    def state():
        names = sorted(one for one in [*sys.modules] if one.startswith("effects_made_"))
        for name in names:
            del sys.modules[name]
        return names

    return f, state


@case
def tracing_of_time():
    zone = datetime.UTC
    stamps = []

    def f(x):
        stamps.append(datetime.datetime.fromtimestamp(work(x), zone))
        return max(stamps)

    return f, lambda: stamps


# --- arguments


@case
def changes_its_argument():
    rows = [[n] for n in range(600)]

    def f(row):
        row.append(work(row[0]))
        return len(row)

    return f, lambda: rows, rows


@case
def changes_its_argument_by_a_helper():
    rows = [{"n": n} for n in range(600)]

    def fill(row):
        row["work"] = work(row["n"])

    def f(row):
        fill(row)
        return row["n"]

    return f, lambda: rows, rows


@case
def changes_its_argument_at_a_late_item():
    rows = [[n] for n in range(600)]

    def f(row):
        if row[0] == LATE:
            row.append("late")
        return work(row[0])

    return f, lambda: rows, rows


@case
def sets_its_arguments_attribute():
    rows = [types.SimpleNamespace(n=n) for n in range(600)]

    def f(row):
        row.result = work(row.n)
        return row.n

    return f, lambda: rows, rows


@case
def changes_what_all_arguments_share():
    shared = []
    rows = [(n, shared) for n in range(600)]

    def f(row):
        n, into = row
        into.append(work(n))
        return len(into)

    return f, lambda: shared, rows


@case
def gives_its_argument_back():
    rows = [[n] for n in range(600)]

    def f(row):
        work(row[0])
        return row

    return f, lambda: sorted({id(row) for row in rows}) and rows, rows


# --- numpy, where it is there

try:
    import numpy
except ImportError:
    numpy = None

if numpy is not None:

    @case
    def numpy_item():
        data = numpy.zeros(8, dtype=numpy.int64)

        def f(x):
            data[x % 8] += work(x)
            return int(data[0])

        return f, data.tolist

    @case
    def numpy_out():
        data = numpy.ones(8, dtype=numpy.int64)

        def f(x):
            numpy.add(data, work(x), out=data)
            return int(data[0])

        return f, data.tolist

    @case
    def numpy_view():
        data = numpy.zeros(8, dtype=numpy.int64)
        view = data[::2]

        def f(x):
            view[:] = view + work(x)
            return int(data[0])

        return f, data.tolist

    @case
    def numpy_fill():
        data = numpy.zeros(8, dtype=numpy.int64)

        def f(x):
            before = int(data[0])
            data.fill(work(x))
            return before

        return f, data.tolist

    @case
    def numpy_in_place_method():
        data = numpy.arange(8)

        def f(x):
            work(x)
            data.partition(3)
            data[0] = -x
            return data.tolist()

        return f, data.tolist

    @case
    def numpy_random():
        dice = numpy.random.default_rng(5)
        return lambda x: (work(x), int(dice.integers(10**6))), lambda: int(dice.integers(10**6))

    @case
    def numpy_random_module():
        numpy.random.seed(5)
        return lambda x: (work(x), float(numpy.random.rand())), lambda: float(numpy.random.rand())
