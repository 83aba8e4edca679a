"""The files for other programs' viewers: whole, and as true as the JSON report."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from conftest import Runner
from interpreters import interpreters

SUFFIXES = (".json", ".speedscope.json", ".gecko.json", ".folded")
MARKERS = {  # the last six are ours, the rest are those of CPython 3.15's profiling.sampling
    "Has GIL", "Waiting for GIL", "Native Code", "On CPU", "Off CPU",
    "Waiting for CPU", "I/O", "Disk", "Lock", "Sleep", "Other Wait", "Unknown",
}  # fmt: skip

# A time line shows what each sample saw; the account also takes from it the moments, shorter than a sample,
# in which the kernel says that a thread ran or wanted a CPU: on 2 CPUs up to a tenth of the waiting.
TIMELINE = 0.15


@pytest.fixture(scope="module")
def formats(allcores: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of four GIL-bound threads, as every format tells it."""
    directory = tmp_path_factory.mktemp("formats")
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    recording = directory / "run.allcores"
    command = Runner(allcores, directory).program(here, "gil_threads", 1.5, 4)
    subprocess.run([allcores, "why", "-q", "-o", recording, "--", *command], check=True, timeout=60)
    for suffix in SUFFIXES:
        subprocess.run([allcores, "show", "-q", "-o", directory / f"run{suffix}", recording], check=True)
    texts = {suffix: (directory / f"run{suffix}").read_text() for suffix in SUFFIXES}
    return {
        "recording": recording,
        "json": json.loads(texts[".json"]),
        "speedscope": json.loads(texts[".speedscope.json"]),
        "gecko": json.loads(texts[".gecko.json"]),
        "folded": texts[".folded"],
    }


def waiting_s(formats: dict[str, Any]) -> float:
    """Thread-seconds of waiting for the GIL, by the JSON report: the figure the others are held against."""
    seconds: float = formats["json"]["states_s"]["gil_wait"]
    assert seconds > 3.0
    return seconds


def test_speedscope(formats: dict[str, Any]) -> None:
    document = formats["speedscope"]
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = document["shared"]["frames"]
    by_name = dict.fromkeys((frame["name"] for frame in frames), 0.0)
    for profile in document["profiles"]:
        assert (profile["type"], profile["unit"]) == ("sampled", "nanoseconds")
        assert len(profile["samples"]) == len(profile["weights"]) > 0
        assert sum(profile["weights"]) == profile["endValue"] - profile["startValue"]
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
            assert weight > 0
            assert all(0 <= index < len(frames) for index in stack)
            if stack:
                by_name[frames[stack[-1]]["name"]] += weight
    assert by_name["[gil_wait]"] / 1e9 == pytest.approx(waiting_s(formats), rel=TIMELINE)
    active = document["profiles"][document["activeProfileIndex"]]
    assert len(active["samples"]) == max(len(one["samples"]) for one in document["profiles"])


def check_table(table: dict[str, Any]) -> None:
    columns = {name: column for name, column in table.items() if isinstance(column, list)}
    assert {len(column) for column in columns.values()} == {table["length"]}


def test_gecko(formats: dict[str, Any]) -> None:
    document = formats["gecko"]
    assert next(iter(document)) == "meta"  # Perfetto knows the format by it
    assert document["meta"]["preprocessedProfileVersion"] == 57
    strings = document["shared"]["stringArray"]
    waited = 0.0
    names = set()
    crunching = 0
    for thread in document["threads"]:
        for name in ("samples", "stackTable", "frameTable", "funcTable", "markers", "resourceTable"):
            check_table(thread[name])
        stacks, markers = thread["stackTable"], thread["markers"]
        assert all(one is None or one < stacks["length"] for one in thread["samples"]["stack"])
        assert all(one is None or one < at for at, one in enumerate(stacks["prefix"]))
        assert all(one < thread["frameTable"]["length"] for one in stacks["frame"])
        assert all(one < thread["funcTable"]["length"] for one in thread["frameTable"]["func"])
        assert all(0 <= one < len(document["meta"]["categories"]) for one in markers["category"])
        assert thread["samples"]["time"] == sorted(thread["samples"]["time"])
        for name, start, end in zip(markers["name"], markers["startTime"], markers["endTime"], strict=True):
            names.add(strings[name])
            waited += (end - start) / 1e3 if strings[name] == "Waiting for GIL" else 0.0
        functions = {strings[one] for one in thread["funcTable"]["name"]}
        crunching += "crunch" in functions
    assert crunching == 4
    assert names <= MARKERS
    assert names >= {"Has GIL", "Waiting for GIL", "On CPU", "Off CPU"}
    assert waited == pytest.approx(waiting_s(formats), rel=TIMELINE)


def test_folded(formats: dict[str, Any]) -> None:
    milliseconds = dict.fromkeys(("[python]", "[gil_wait]"), 0)
    for line in formats["folded"].splitlines():
        stack, _, count = line.rpartition(" ")
        leaf = stack.split(";")[-1]
        assert int(count) > 0 and stack.startswith("process ")
        milliseconds[leaf] = milliseconds.get(leaf, 0) + int(count)
    assert milliseconds["[gil_wait]"] / 1e3 == pytest.approx(waiting_s(formats), rel=0.02)


def test_a_recording_is_compact(formats: dict[str, Any]) -> None:
    """Fewer bytes than samples times two: stacks are stored once."""
    size = formats["recording"].stat().st_size
    assert size < 2 * formats["json"]["sampling"]["samples"] + 8192
