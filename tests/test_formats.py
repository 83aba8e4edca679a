"""The files for other programs' viewers: whole, and as true as the JSON report."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import TESTS, Runner
from interpreters import interpreters
from perfetto.protos.perfetto.trace import perfetto_trace_pb2  # type: ignore[import-untyped]

SUFFIXES = (".json", ".speedscope.json", ".gecko.json", ".folded")
WEB = Path(os.environ.get("ALLCORES_NODE", TESTS.parent / ".venv" / "web"))
SPEEDSCOPE = WEB / "node_modules" / "speedscope" / "dist" / "release"
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
    subprocess.run([allcores, "show", "-q", "-o", directory / "run.pftrace", recording], check=True)
    texts = {suffix: (directory / f"run{suffix}").read_text() for suffix in SUFFIXES}
    return {
        "recording": recording,
        "json": json.loads(texts[".json"]),
        "speedscope": json.loads(texts[".speedscope.json"]),
        "gecko": json.loads(texts[".gecko.json"]),
        "folded": texts[".folded"],
        "pftrace": (directory / "run.pftrace").read_bytes(),
    }


def waiting_s(formats: dict[str, Any]) -> float:
    """Thread-seconds of waiting for the GIL, by the JSON report: the figure the others are held against."""
    seconds: float = formats["json"]["states_s"]["gil_wait"]
    assert seconds > 3.0
    return seconds


def test_speedscope(formats: dict[str, Any]) -> None:
    document = formats["speedscope"]
    schema = json.loads((SPEEDSCOPE / "file-format-schema.json").read_text())
    jsonschema.validate(document, schema)
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


def test_files_in_speedscope(allcores: str, formats: dict[str, Any]) -> None:
    """The viewer itself, in a browser, reads both files and tells our figures."""
    directory = formats["recording"].parent
    files = [directory / "run.speedscope.json", directory / "run.folded"]
    command = ["node", *map(str, (TESTS / "speedscope.mjs", WEB, *files))]
    shown = json.loads(subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE).stdout)
    assert [one["messages"] for one in shown] == [[], []]
    document = formats["speedscope"]
    assert shown[0]["title"] == f"{document['name']} - speedscope"
    rows = [one["rows"] for one in shown]
    threads = [row for row in rows[0] if "thread" in row and "process" in row]
    assert len(threads) == len(document["profiles"])
    active = document["profiles"][document["activeProfileIndex"]]
    names = [frame["name"] for frame in document["shared"]["frames"]]
    waited = sum(
        weight
        for stack, weight in zip(active["samples"], active["weights"], strict=True)
        if stack and names[stack[-1]] == "[gil_wait]"
    )
    (told,) = (row for row in rows[0] if row.endswith("[gil_wait]"))
    figure = re.match(r"([\d.]+)(ms|s) ", told)
    assert figure and float(figure[1]) * {"ms": 1e6, "s": 1e9}[figure[2]] == pytest.approx(waited, rel=0.01)
    assert any(row.endswith("crunch") for row in rows[0])
    (told,) = (row for row in rows[1] if row.endswith("[gil_wait]"))
    milliseconds = sum(
        int(line.rpartition(" ")[2]) for line in formats["folded"].splitlines() if ";[gil_wait] " in line
    )
    assert int(told.split(" ")[0].replace(",", "")) == milliseconds


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


def test_gecko_in_firefox_profiler(formats: dict[str, Any], tmp_path: Path) -> None:
    """The Firefox Profiler's own code loads the file, finds the threads and adds up the markers."""
    cli = WEB / "node_modules" / "@firefox-devtools" / "profiler-cli" / "dist" / "profiler-cli.js"
    environment = {
        **os.environ,
        "PROFILER_CLI_SESSION_DIR": str(tmp_path),
        "PROFILER_CLI_NO_SYMBOLICATE": "1",
    }

    def ask(*words: str | Path) -> Any:
        done = subprocess.run(
            ["node", cli, *words], check=True, timeout=60, env=environment, stdout=subprocess.PIPE, text=True
        )
        return json.loads(done.stdout) if "--json" in words else done.stdout

    try:
        ask("load", formats["recording"].parent / "run.gecko.json")
        markers = ask("profile", "markers", "--json", "--search", "Waiting for GIL", "--limit", "1000000")
        threads = ask("thread", "list", "--json", "--limit", "1000")["threads"]
        functions = ask("thread", "functions", "--json")["functions"]
    finally:
        ask("stop", "--all")
    assert {one["name"] for one in markers["markers"]} == {"Waiting for GIL"}
    waited = sum(one["duration"] for one in markers["markers"]) / 1e3
    assert waited == pytest.approx(waiting_s(formats), rel=TIMELINE)
    assert len(threads) == len(formats["gecko"]["threads"])
    assert "crunch" in {one["name"] for one in functions}


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


class Trace:
    """A Perfetto trace, its slices and counters put together as Perfetto's trace processor does."""

    def __init__(self, data: bytes) -> None:
        trace = perfetto_trace_pb2.Trace()
        trace.ParseFromString(data)
        self.tracks: dict[int, Any] = {}
        self.slices: dict[int, list[tuple[int, int, str, tuple[str, ...]]]] = defaultdict(list)
        self.counters: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.interned: dict[str, dict[int, Any]] = defaultdict(dict)
        opened: dict[int, tuple[int, str, tuple[str, ...]]] = {}
        clear = 1  # SEQ_INCREMENTAL_STATE_CLEARED
        assert trace.packet[0].sequence_flags == clear and trace.packet[0].first_packet_on_sequence
        self.clocks = {one.clock_id: one.timestamp for one in trace.packet[0].clock_snapshot.clocks}
        for packet in trace.packet[1:]:
            assert (packet.trusted_packet_sequence_id, packet.sequence_flags) == (1, 2)
            if packet.HasField("track_descriptor"):
                assert packet.track_descriptor.uuid not in self.tracks
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            for field, entries in packet.interned_data.ListFields():
                for entry in entries:
                    assert entry.iid and entry.iid not in self.interned[field.name]
                    self.interned[field.name][entry.iid] = entry
            if packet.HasField("track_event"):
                self.event(packet.timestamp, packet.track_event, opened)
        assert not opened

    def event(self, at: int, event: Any, opened: dict[int, tuple[int, str, tuple[str, ...]]]) -> None:
        track = self.tracks[event.track_uuid]  # announced before
        if event.type == event.TYPE_COUNTER:
            self.counters[track.name].append((at, event.double_counter_value))
        elif event.type == event.TYPE_SLICE_BEGIN:
            assert event.track_uuid not in opened
            assert all(iid in self.interned["event_categories"] for iid in event.category_iids)
            name = self.interned["event_names"][event.name_iid].name
            opened[event.track_uuid] = (at, name, self.stack(event))
        else:
            start, name, stack = opened.pop(event.track_uuid)
            before = self.slices[event.track_uuid]
            assert at > start and (not before or start >= before[-1][1])
            before.append((start, at, name, stack))

    def stack(self, event: Any) -> tuple[str, ...]:
        if not event.callstack_iid:
            return ()
        frames = [
            self.interned["frames"][iid] for iid in self.interned["callstacks"][event.callstack_iid].frame_ids
        ]
        names = tuple(self.interned["function_names"][one.function_name_id].str.decode() for one in frames)
        assert all(one.source_path_iid in self.interned["source_paths"] for one in frames)
        assert self.interned["source_locations"][event.source_location_iid].function_name == names[-1]
        return names

    def seconds(self, kind: str, name: str) -> float:
        """Of all slices of that name on the tracks of a kind: "thread" or "name"."""
        return sum(
            (end - start) / 1e9
            for uuid, slices in self.slices.items()
            if self.tracks[uuid].HasField(kind)
            for start, end, slice_name, _ in slices
            if slice_name == name
        )


def test_perfetto(formats: dict[str, Any]) -> None:
    report, trace = formats["json"], Trace(formats["pftrace"])
    assert trace.seconds("thread", "gil wait") == pytest.approx(waiting_s(formats), rel=TIMELINE)
    assert abs(trace.clocks[1] / 1e9 - formats["recording"].stat().st_mtime) < 60
    threads = {track.thread.tid: uuid for uuid, track in trace.tracks.items() if track.HasField("thread")}
    crunching = [
        tid for tid, uuid in threads.items() if any("crunch" in stack for *_, stack in trace.slices[uuid])
    ]
    assert len(crunching) == 4
    assert {one["tid"] for one in report["threads"] if one["states_s"]["gil_wait"] > 0.1} <= threads.keys()
    processes = [track.process for track in trace.tracks.values() if track.HasField("process")]
    assert [(one.pid, one.process_name) for one in processes] == [
        (report["processes"][0]["pid"], "gil_threads.py")
    ]


def test_perfetto_cores(formats: dict[str, Any]) -> None:
    """The lanes of the CPUs hold what computed; the counters' areas are the account's seconds."""
    report, trace = formats["json"], Trace(formats["pftrace"])
    (cores,) = (uuid for uuid, track in trace.tracks.items() if track.name == "Cores")
    lanes = {
        track.name: trace.slices[uuid]
        for uuid, track in trace.tracks.items()
        if track.parent_uuid == cores and track.name.startswith("CPU ")
    }
    ran = sum(trace.seconds("thread", name) for name in ("python", "python in a C function", "native"))
    computed = sum((end - start) / 1e9 for lane in lanes.values() for start, end, *_ in lane)
    assert computed == pytest.approx(ran, rel=0.1)

    def area(name: str) -> float:
        series = trace.counters[name]
        assert [at for at, _ in series] == sorted(at for at, _ in series)
        return sum(value * (until - at) / 1e9 for (at, value), (until, _) in pairwise(series))

    waited = trace.seconds("thread", "gil wait")
    assert area("Threads waiting for the GIL") == pytest.approx(waited, rel=0.02)
    assert area("Cores used") == pytest.approx(ran, rel=0.02)
    waiters = sum(one["states_s"]["gil_wait"] > 0 for one in report["threads"])
    assert max(value for _, value in trace.counters["Threads waiting for the GIL"]) <= waiters + 0.001
    others = area("CPUs of other programs (average of the run)")
    assert others == pytest.approx(report["cpus"]["others_used"] * report["wall_s"], abs=0.01)


def test_perfetto_of_hostile_names(allcores: str, tmp_path: Path) -> None:
    """A name's bytes stay inside its string: the file parses, and each string is valid UTF-8."""
    script = tmp_path / 'odd \u202e\x1b[31m"; name.py'
    script.write_text("sum(range(5_000_000))")
    subprocess.run([allcores, "why", "-q", "-o", tmp_path / "odd.pftrace", script], check=True, timeout=60)
    trace = Trace((tmp_path / "odd.pftrace").read_bytes())
    assert script.name in [one.process.process_name for one in trace.tracks.values()]
