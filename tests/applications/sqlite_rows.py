# An import script that commits row by row, as sqlite3's users do: disk-bound by `save`.
import sqlite3
import sys
import time


def save(database, number):
    with database:
        database.execute("insert into rows values (?, ?)", (number, "x" * 100))


database = sqlite3.connect("import.db")
database.execute("create table if not exists rows (number, text)")
until = time.monotonic() + float(sys.argv[1])
number = 0
while time.monotonic() < until:
    save(database, number)
    number += 1
