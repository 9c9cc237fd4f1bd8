"""The page of a report, in a real browser: drawn, explored by mouse and by keyboard, on any screen, light and dark."""

import re
import sys

import pytest
from monkeywrench.harness import Event, Guarantees, History, Plan, judge, runner
from monkeywrench.harness.faults import Delay, Kill
from monkeywrench.harness.triggers import every, messages, read
from monkeywrench.scenarios._result import Result
from monkeywrench.scenarios.report import write_report

from .browser import CHROMIUM, DRIVER, Browser

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver is installed"),
]
OPENED = "article:not([hidden])"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of real trials, one of them wedged; the same without Plotly, and so is a page of one long trial, made up:
    they open in a moment.
    """
    own = {"seed": 1, "producers": 2, "messages": 40}
    # Or else all is put in less time than a point of a chart stands for.
    slowly = (Delay("producer-0", every(1), 0.002), Delay("producer-1", every(1), 0.002))
    plans = (
        Plan(queue="pipes.SimplePipeQueue", name="valid one", faults=(Kill("producer-0", messages(9)),), **own),
        Plan(
            queue="multiprocessing.Queue",
            name="wedged",
            patience_s=0.5,
            faults=(Kill("consumer-0", read(9)), *slowly),
            **own,
        ),
    )
    results = [Result("s", plan, runner.run(plan), None, 0.5, f"monkeywrench run '{plan.name}'") for plan in plans]
    results.append(Result("s", plans[0], None, "the gate sees nothing of it", 0.0, ""))
    few = tmp_path_factory.mktemp("few")
    write_report(few, results, keep_trials=False)
    plan = Plan(queue="pipes.SimplePipeQueue", seed=1, messages=10_000, name="long")
    verdict = judge(History(plan, Guarantees(), long_history()))
    assert [finding.kind for finding in verdict.findings] == ["duplicated"]
    bare, many = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plotly", "plotly.offline"):
            patch.setitem(sys.modules, name, None)  # what an import takes for: not installed
        write_report(bare, results, keep_trials=False)
        write_report(many, [Result("s", plan, verdict, None, 9.0, "x")], keep_trials=False)
    return {name: (made / "report.html").as_uri() for name, made in (("few", few), ("many", many), ("bare", bare))}


def long_history():
    """10,000 messages, one of them received twice in the middle; each takes a millisecond."""
    told = []
    for number in range(10_000):
        for process, f in (("producer-0", "enqueue"), ("consumer-0", "dequeue")):
            told.append((process, "invoke", f, [0, number] if f == "enqueue" else None))
            told.append((process, "ok", f, [0, number]))
        if number == 5000:
            told += [("consumer-0", "invoke", "dequeue", None), ("consumer-0", "ok", "dequeue", [0, number])]
    for process, f in (("heal-producer-0", "enqueue"), ("heal-consumer-0", "dequeue")):
        told += [(process, "invoke", f, [1, 0] if f == "enqueue" else None), (process, "ok", f, [1, 0])]
    return [Event(index, index * 250_000, *each) for index, each in enumerate(told)]


@pytest.fixture
def opened(browser, pages):
    def opened(which, width=1200, height=900, *, scale=1, dark=False, place=""):
        browser.size(width, height, scale=scale, dark=dark)
        browser.open("about:blank")
        browser.open(pages[which] + place)
        browser.wait("return document.documentElement.dataset.ready", what="the page's script")
        return browser

    yield opened
    # Nothing went wrong, and nothing was asked of anybody: the policy would have refused it, and said so.
    assert browser.log() == []


def colours_of(browser):
    """Return the colours on the screen: RGB triples, with how many pixels have each."""
    counted = browser.run(
        """
        const image = new Image();
        image.src = `data:image/png;base64,${arguments[0]}`;
        return image.decode().then(() => {
          const canvas = new OffscreenCanvas(image.width, image.height), drawn = canvas.getContext("2d");
          drawn.drawImage(image, 0, 0);
          const pixels = new Uint32Array(drawn.getImageData(0, 0, image.width, image.height).data.buffer), found = {};
          for (const pixel of pixels) found[pixel] = (found[pixel] ?? 0) + 1;
          return found;
        });
        """,
        browser.screenshot(),
    )
    return {tuple(int(pixel).to_bytes(4, "little")[:3]): count for pixel, count in counted.items()}


def shown(browser):
    return browser.run(f"return document.querySelector('{OPENED} .range').textContent")


def stretch(text):
    """Return from when to when, in seconds, the charts say that they show."""
    units = {"s": 1, "ms": 1e-3, "µs": 1e-6}
    told = re.findall(r"([\d.,]+) (s|ms|µs)", text)[:2]
    return tuple(float(value.replace(",", "")) * units[unit] for value, unit in told)


def near(colour, other):
    return all(abs(one - two) < 30 for one, two in zip(colour, other, strict=True))


def test_worst_trial_is_open_and_drawn(opened):
    browser = opened("few", 640, 300)
    assert browser.run(f"return document.querySelector('{OPENED} h2').textContent").startswith("invalid: ")
    browser.run(f"document.querySelector('{OPENED} canvas').scrollIntoView()")
    colours = colours_of(browser)
    put, get, never = (43, 111, 211), (217, 130, 43), (194, 33, 48)
    for wanted in (put, get, never):
        assert sum(count for colour, count in colours.items() if near(colour, wanted)) > 5, wanted
    lines = browser.run(
        f"return [...document.querySelectorAll('{OPENED} .scatterlayer .js-line')].map(each =>"
        " [getComputedStyle(each).stroke, each.getTotalLength(), each.getBoundingClientRect().height])"
    )
    assert [stroke for stroke, _, _ in lines][:2] == ["rgb(43, 111, 211)", "rgb(217, 130, 43)"]
    assert len({stroke for stroke, _, _ in lines}) == len(lines) == 2 + 4 + 1
    assert all(length > 1 for _, length, _ in lines), lines
    assert min(lines[0][2], lines[-1][2]) > 20, lines
    browser.size(640, 300, dark=True)
    stroke = f"getComputedStyle(document.querySelector('{OPENED} .scatterlayer .js-line')).stroke"
    browser.wait(f"return {stroke} === 'rgb(91, 157, 255)'", what="the charts to be drawn for the dark")


def test_every_trial_opens_from_the_table_by_keyboard(opened):
    browser = opened("bare")
    browser.run("document.querySelector('.trials a').focus()")
    browser.press("Enter")
    title = f"return document.querySelector('{OPENED} h2').textContent"
    browser.wait(f"{title}.includes('valid one')", what="the trial to open")
    assert browser.run("return document.activeElement.tagName") == "H2"
    browser.run("document.querySelectorAll('.trials a')[2].focus()")
    browser.press("Enter")
    browser.wait(f"{title}.startsWith('n/a')", what="the trial that did not run")
    assert "the gate sees nothing of it" in browser.run(f"return document.querySelector('{OPENED}').textContent")
    assert not browser.run(f"return document.querySelector('{OPENED} :is(canvas, svg)')")


def test_tab_reaches_every_control_and_shows_where_it_is(opened):
    browser = opened("bare")
    reached = []
    browser.run("document.body.focus(); document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(60):
        browser.press("Tab")
        name, outline = browser.run(
            "const at = document.activeElement; return [(at.ariaLabel || at.textContent || '').slice(0, 40),"
            " getComputedStyle(at).outlineStyle]"
        )
        if browser.run("return document.activeElement === document.body"):
            break
        assert outline != "none", name
        reached.append(name)
    for wanted in (
        "all",
        "copy",
        "show it in the charts",
        "zoom in",
        "earlier",
        "Charts of this trial. Arrow keys move, p",
    ):
        assert wanted in reached, reached


def test_keys_zoom_move_and_step_through_the_faults(opened):
    browser = opened("few", place="#trial-1")
    browser.run(f"document.querySelector('{OPENED} .stage').focus()")
    whole = shown(browser)
    assert whole.startswith("0 ")
    browser.press("+", "+")
    closer = shown(browser)
    assert closer != whole
    browser.press("Right")
    assert shown(browser) != closer
    browser.press("0")
    assert shown(browser) == whole
    browser.press("n")
    said = browser.run(f"return document.querySelector('{OPENED} [aria-live]').textContent")
    assert "fault: SIGKILL to producer-0 after message 9" in said
    assert shown(browser) != whole
    tip = f"return !document.querySelector('{OPENED} .tip').hidden"
    assert browser.run(tip)
    browser.press("Escape")
    assert not browser.run(tip)


def test_mouse_tells_what_is_there_and_zooms_all_charts(opened):
    browser = opened("few", place="#trial-1")
    browser.run(f"document.querySelector('{OPENED} .stage').scrollIntoView()")
    boxes = browser.run(
        f"return [...document.querySelectorAll('{OPENED} :is(.over, .nsewdrag)')].map(each => {{"
        " const box = each.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; })"
    )
    assert len(boxes) == 4  # the lanes, and three charts
    left, top, width, height = boxes[0]
    lanes, span, began, ended, lane = browser.run(
        f"const data = JSON.parse(document.querySelector('{OPENED} script').textContent);"
        "return [data.lanes.map(each => each[0]), data.span, ...data.ops.slice(0, 3)]"
    )
    row = sorted(lanes, key=lambda name: (name.startswith("heal"), name.startswith("consumer"), name)).index(
        "producer-1"
    )
    longest = max(
        (end - begin, begin) for begin, end, at in zip(began, ended, lane, strict=False) if lanes[at] == "producer-1"
    )
    browser.move(left + width * (longest[1] + longest[0] / 2) / span, top + height * (row + 0.5) / len(lanes))
    said = browser.run(f"return document.querySelector('{OPENED} .tip').textContent")
    assert re.match(r"producer-1: put of message \d+ returned after .* \(events \d+, \d+\)$", said), said
    told = f"return document.querySelector('{OPENED} .hoverlayer').textContent"
    browser.wait(f"{told}.includes('in flight')", what="the charts to tell of the moment that the lanes are asked for")
    left, top, width, height = boxes[2]
    browser.move(left + width * 0.7, top + height / 2)
    cursor = f"return document.querySelector('{OPENED} .cursor').getBoundingClientRect().left"
    browser.wait(
        f"{cursor} === {round(left + width * 0.7)}", what="the lanes to mark the moment that a chart is asked for"
    )
    for left, top, width, height in (boxes[2], boxes[0]):
        span *= 0.2
        browser.drag(left + width * 0.4, left + width * 0.6, top + height / 2)
        from_s, to_s = browser.run(f"return document.querySelector('{OPENED} .graph').layout.xaxis.range")
        assert to_s - from_s == pytest.approx(span / 1e9, rel=0.02)
        assert stretch(shown(browser)) == pytest.approx((from_s, to_s), abs=(to_s - from_s) * 0.02)


def test_finding_is_shown_where_it_is_in_a_long_trial(opened):
    browser = opened("many")
    data = browser.run(
        f"const data = JSON.parse(document.querySelector('{OPENED} script').textContent);"
        "return [data.whole, data.events, data.ops[0].length, data.ops[7], data.findings[0]]"
    )
    whole, events, drawn, firsts, window = data
    assert (whole, events) == (False, 40_006)
    # The neighbourhood of the second receipt is drawn whole, and far from everything is not.
    assert drawn < 1000
    assert set(range(20_002 - 100, 20_002 + 100, 2)) <= set(firsts) | {first - 1 for first in firsts}
    assert window[0] < 20_003 * 250_000 < window[1]
    before = shown(browser)
    browser.click(".show")
    assert shown(browser) != before
    assert re.match(r"4\.\d+ s – 5\.\d+ s of 10 s", shown(browser)), shown(browser)


def test_replay_line_is_copied(opened):
    browser = opened("bare")
    browser.click(f"{OPENED} .copy")
    browser.wait(f"return document.querySelector('{OPENED} .copy').textContent === 'copied'", what="the copy")
    browser.run("const field = document.body.appendChild(document.createElement('textarea')); field.id = 'paste';")
    browser.devtools("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    pasted = browser.run("return navigator.clipboard.readText().catch(error => getSelection().toString())")
    assert pasted == "monkeywrench run 'wedged'"


def test_filter_shows_one_kind(opened):
    browser = opened("bare")
    browser.click('.filter [data-show="invalid"]')
    rows = "return [...document.querySelectorAll('.trials tbody tr')].filter(row => !row.hidden).length"
    assert browser.run(rows) == 1
    browser.click('.filter [data-show=""]')
    assert browser.run(rows) == 3


def test_page_made_without_plotly_has_the_lanes_and_says_what_to_install(opened):
    browser = opened("bare")
    assert browser.run(f"return document.querySelectorAll('{OPENED} canvas').length") == 1
    assert not browser.run(f"return document.querySelector('{OPENED} .graph')")
    said = browser.run(f"return document.querySelector('{OPENED} .stage').textContent")
    assert "plotly is installed: pip install 'monkeywrench[report]'" in said
    before = shown(browser)
    browser.run(f"document.querySelector('{OPENED} .stage').focus()")
    browser.press("+", "n")
    assert shown(browser) != before


@pytest.mark.parametrize("which", ["few", "many"])
def test_small_screen_needs_no_sideways_scrolling(opened, which):
    browser = opened(which, 360, 700, scale=2)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    charts = "svg" if which == "few" else "canvas"
    width = f"return document.querySelector('{OPENED} {charts}').getBoundingClientRect().width"
    assert 200 < browser.run(width) <= 360
    least = browser.run(
        f"return Math.min(...[...document.querySelectorAll('{OPENED} button')].map(each => each.offsetHeight))"
    )
    assert least >= 30
    browser.size(1000, 700)
    browser.wait(f"{width} > 700", what="the charts to grow")


def test_dark_is_dark_and_readable(opened):
    browser = opened("bare", 320, 300, dark=True)
    dark = colours_of(browser)
    assert sum(dark[each] for each in dark if max(each) < 64) > 0.7 * sum(dark.values())
    assert contrasts(browser) >= 4.5
    browser.size(320, 300, dark=False)
    light = colours_of(browser)
    assert sum(light[each] for each in light if min(each) > 200) > 0.7 * sum(light.values())
    assert contrasts(browser) >= 4.5


def contrasts(browser):
    """Return the least contrast of a text colour on the ground that it is written on, as WCAG reckons it."""
    return browser.run(
        """
        const style = getComputedStyle(document.documentElement);
        const light = name => {
          const hex = style.getPropertyValue(`--${name}`).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
          const [r, g, b] = [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16) / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const pairs = ["ink", "quiet", "accent", "valid", "unknown", "invalid", "na"].flatMap(name =>
          ["card", "stripe"].map(ground => [light(name), light(ground)]));
        return Math.min(...pairs.map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
        """
    )
