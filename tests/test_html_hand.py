"""The page by hand: keys, wheel, the browser's own touch, and its address. On a made-up run, whose figures are known:
40 threads take turns at one GIL for 3 s."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from conftest import TESTS
from test_html import MODULES, data, made_up

WALL = 3000


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = made_up(tmp_path_factory.mktemp("hand"), "40", "3")
    coarse = made_up(tmp_path_factory.mktemp("coarse"), "16", "120")
    command = ["node", *map(str, (TESTS / "page_hand.mjs", MODULES, path, coarse))]
    done = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["messages"] == []
    document["step_ms"] = data(coarse)["step_ms"]
    return document


def test_keys(seen: dict[str, Any]) -> None:
    keys = seen["keys"]
    whole, near = [0, WALL], [0.15 * WALL, 0.85 * WALL]
    assert keys["w"][0]["span"] == keys["+"][0]["span"] == near
    assert keys["s"][0]["span"] == keys["-"][0]["span"] == keys["0"][0]["span"] == whole
    assert keys["a"][0]["span"] == pytest.approx([at - 0.07 * WALL for at in near])
    assert keys["d"][0]["span"] == near
    assert keys["ArrowRight"][0]["cursor"] == WALL / 50
    assert keys["Shift+ArrowRight"][0]["range"] == "60.000,120.000"
    assert keys["Escape"][0]["range"] is None
    assert [one["scroll"] for one in keys["ArrowDown"] + keys["ArrowUp"]] == [20, 40, 20]
    assert seen["drawn"] != seen["drawn_unscrolled"]


def test_keys_of_the_browser(seen: dict[str, Any]) -> None:
    assert seen["modified"] == [True] * 21
    assert seen["unmoved"] == seen["keys"]["ArrowUp"][0]


def test_odd_tabs(seen: dict[str, Any]) -> None:
    """One that is not there opens the first."""
    assert seen["tabs"] == [True] * 4


def test_range_of_some_threads(seen: dict[str, Any]) -> None:
    """The words tell which figures are the whole run's and which the filter's."""
    assert "1.00 of 2 cores used by the whole run; below, only the 11 of 40 threads" in seen["filtered"]
    assert ", all threads." in seen["filtered"] or "No verdict" in seen["filtered"]


def test_copy(seen: dict[str, Any]) -> None:
    """The fix is in the clipboard; where that is not allowed it is selected, and the button says so."""
    code, copied, button = seen["copied"]
    assert copied == code and code.strip()
    assert button == "Copied"
    assert seen["refused"] == [code.rstrip(), "Press Ctrl-C"]


def test_wheel(seen: dict[str, Any]) -> None:
    near, across = seen["wheel"]["span"], seen["across"]["span"]
    assert seen["shift_wheel"]["scroll"] == 50 and seen["shift_wheel"]["span"] == [0, WALL]
    assert near[1] - near[0] == pytest.approx(1.0015**-400 * WALL, abs=1)
    assert across[0] > near[0] and across[1] - across[0] == pytest.approx(near[1] - near[0], abs=0.01)


def test_address(seen: dict[str, Any]) -> None:
    """What it says is what is seen, whether the page is opened by it or it is changed later."""
    view, told, counters = seen["named"]
    assert view == {"span": [500, 1500], "range": "600.000,900.000", "scroll": 40, "cursor": 750}
    assert told == "600.0 ms to 900.0 ms"
    assert counters.startswith("750.0 ms wall")
    assert seen["drawn_named"] == seen["drawn_again"]


def test_counters(seen: dict[str, Any]) -> None:
    """One thread computes at any time: as much CPU as wall time, one of two cores, as fast as one."""
    for ms, clock in ((750, "750.0 ms"), (1500, "1.50 s"), (WALL, "3.00 s")):
        words = seen["clocks"][str(ms)].split(" \u00b7 ")
        assert words[:2] == [f"{clock} wall", f"{clock} CPU"]
        assert words[2:4] == ["1.00 of 2 cores used so far", "1.00\u00d7 as fast as one core"]
        assert words[4] == ("0 threads computing now" if ms == WALL else "1 thread computing now")


def test_down_sampled(seen: dict[str, Any]) -> None:
    as_it_is, in_steps = seen["hints"]
    assert "Down-sampled" not in as_it_is
    assert f"Down-sampled to steps of {seen['step_ms']:.1f} ms" in in_steps


def test_fingers(seen: dict[str, Any]) -> None:
    """Two zoom to where they went, one moves the view; up and down is the page's."""
    touch = seen["touch"]
    pinch, pan, up = (touch[name]["span"] for name in ("pinch", "pan", "up"))
    assert pinch[1] - pinch[0] == pytest.approx(WALL / 4, rel=0.05)
    assert pan[0] > pinch[0] + 20 and pan[1] - pan[0] == pytest.approx(pinch[1] - pinch[0], abs=0.01)
    assert up == pan
    assert touch["before"]["page"] == touch["pan"]["page"] < touch["up"]["page"] - 100
