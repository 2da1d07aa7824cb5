"""The page of a corpus in a real browser: drawn, quiet, playing, and fit for a telephone and for the dark."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile as sf
from needs import needs

import corpusdiff
from corpusdiff.report.write import write_report

pytest.importorskip("websocket")
from browser import opened

pytestmark = needs("chromium")

#: Colours in the canvas of each plot: one that is not drawn has one.
COLOURS = """(() => {
  const canvases = root => [...root.querySelectorAll("*")].flatMap(node =>
    [...(node.tagName === "CANVAS" ? [node] : []), ...(node.shadowRoot ? canvases(node.shadowRoot) : [])]);
  return [...document.querySelectorAll("[data-root-id]")].map(place => Math.max(...canvases(place).map(canvas => {
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(pixels).size;
  })));
})()"""

DRAWN = "window.Bokeh && Bokeh.documents.length === 1 && Bokeh.documents[0].is_idle"

#: The middle of the button of the n-th player, in the window.
BUTTON = """(() => {
  const player = document.querySelectorAll("audio")[%d];
  player.scrollIntoView({block: "center"});
  const box = player.getBoundingClientRect();
  return [box.left + 20, box.top + box.height / 2];
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a corpus of a few seconds, in the browser."""
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(11)
    (folder / "in").mkdir()
    for i, seconds in enumerate((12, 1, 2)):
        n = 16000 * seconds
        x = 0.1 * rng.standard_normal(n) * (1 + np.sin(np.arange(n) / 900))
        sf.write(folder / "in" / f"{i}.wav", x, 16000)
    (folder / "in" / "broken.wav").write_bytes(b"RIFF no sound")
    corpusdiff.run(str(folder / "in"), str(folder / "out"), cluster="none")
    write_report(str(folder / "out"), str(folder / "page.html"))
    with opened((folder / "page.html").as_uri(), folder / "profile") as page:
        page.resize(1280, 900)
        page.until(DRAWN)
        yield page
        assert page.complaints == []


def test_every_plot_is_drawn(page):
    """Histograms, spectrograms and level curves: none is empty, and the console has nothing to say."""
    colours = page.ask(COLOURS)
    assert len(colours) == page.ask("Bokeh.documents[0].roots().length") >= 9 + 3 * 3 - 2
    assert min(colours) > 2
    assert page.complaints == []


def test_players_play(page):
    """A click plays; the other of the pair then goes on where the first was, and the first stops."""
    players = page.ask("[...document.querySelectorAll('audio')].map(player => player.duration)")
    assert len(players) == 6
    long = max(range(6), key=lambda i: players[i]) & ~1
    assert players[long] == pytest.approx(10, abs=0.05)
    before, after = (f"document.querySelectorAll('audio')[{long + i}]" for i in (0, 1))
    page.click(*page.ask(BUTTON % long))
    page.until(f"{before}.currentTime > 0.3")
    page.click(*page.ask(BUTTON % (long + 1)))
    page.until(f"!{after}.paused && {after}.currentTime > 0.3")
    assert page.ask(f"{before}.paused")
    assert page.ask(f"{after}.error === null")
    page.ask(f"{after}.pause()")


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_nothing_sticks_out(page, width):
    """On a telephone, a tablet and a desktop the page is as wide as the window, and its plots as their places."""
    page.resize(width, 900)
    page.until(f"{DRAWN} && innerWidth === {width}")
    page.until(f"document.documentElement.scrollWidth <= {width}")
    wide = (
        "[...document.querySelectorAll('[data-root-id]')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    )
    page.until(f"{wide}.length === 0")


def test_in_the_dark(page):
    """Where the system is dark the page is, and its plots show through."""
    scheme = "getComputedStyle(document.body).backgroundColor"
    light = page.ask(scheme)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.until(f"{scheme} !== {json.dumps(light)}")
    page.ask("scrollTo(0, 0)")
    import av

    with av.open(io.BytesIO(page.picture())) as picture:
        pixels = next(picture.decode(video=0)).to_ndarray(format="gray")
    assert np.median(pixels) < 60
    page.call("Emulation.setEmulatedMedia", features=[])
