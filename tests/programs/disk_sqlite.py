# A database that commits every row: disk-bound by `insert`.
import os
import sqlite3
import sys
import time

NAME = __file__ + ".db"


def insert(database, number):
    database.execute("insert into rows values (?)", (number,))
    database.commit()


database = sqlite3.connect(NAME)
database.execute("create table rows (number)")
until = time.monotonic() + float(sys.argv[1])
number = 0
while time.monotonic() < until:
    insert(database, number)
    number += 1
database.close()
os.unlink(NAME)
