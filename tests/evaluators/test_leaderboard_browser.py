"""The leaderboard's page in a real browser: sorting, filtering, playing, and what a hostile answer may not do."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from demur.nouns import Label, Modality, Outcome, Prompt, Sample
from evaluators.leaderboard import Audio, leaderboard
from evaluators.scorers import Finding, Item, find_scorer
from tests.leaderboards import ANSWER, DRAWS, REFUSAL, corpus, prompts, refuses, samples, scored

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
pytestmark = pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="no Chromium here")

Driver = Any
HOSTILE = (
    '<img src=x onerror="window.ran=1"></script><script>window.ran=2</script><svg onload="window.ran=3">'
    '<a href="javascript:window.ran=4">x</a> <iframe src="http://127.0.0.1:9/"></iframe> {{7*7}} \u2028 &lt;b&gt;'
)
WIDTH, PHONE, A4 = 1280, 360, 718
"""CSS pixels; of a sheet, what its margins leave."""
LONG = "a-model-with-a-name-that-goes-on-and-on-without-a-single-space-in-it-so-that-it-cannot-be-broken-anywhere"


class Stern:
    """A judge that sees a refusal in every answer of the hostile model, and quotes it."""

    name, judge, settings = "stern", True, {"version": 1}

    def score(self, items: list[Item]) -> Iterator[tuple[int, Finding]]:
        for position, item in enumerate(items):
            outcome = Outcome.REFUSAL if item.response in {REFUSAL, HOSTILE} else Outcome.COMPLIANCE
            yield position, Finding(outcome, evidence=item.response[:12], score=2, reason=f"because {HOSTILE}")


def hostile(sample: Sample) -> str:
    return HOSTILE


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of a base, what was made of it, and a model that answers with code."""
    folder = tmp_path_factory.mktemp("board")
    asked = [*prompts(8, 6), Prompt(text=f"What is {HOSTILE}?", label=Label.BENIGN, source="demur-core")]
    rows = samples(asked)
    scorers = [find_scorer("keyword"), Stern()]
    runs = [
        scored(folder / "base", rows, refuses(3), "base", scorers),
        scored(folder / "tuned", rows, refuses(8, 2), LONG, scorers),
        scored(folder / "hostile", rows, hostile, f"hostile {HOSTILE}", scorers),
    ]
    made = corpus(folder / "corpus", rows)
    leaderboard(runs, folder / "out", baseline=runs[0], audio=Audio([made]), draws=DRAWS)
    leaderboard(runs, folder / "embedded", audio=Audio([made], embed=True), draws=DRAWS)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def address(board: Path) -> Iterator[str]:
    """The page over HTTP on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(board / "out")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Driver]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, "--autoplay-policy=no-user-gesture-required", f"--window-size={WIDTH},900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Driver, address: str) -> Driver:
    """The page, freshly opened, wide and light."""
    look(browser, WIDTH)
    for log in ("performance", "browser"):
        browser.get_log(log)
    browser.get(address)
    return browser


def look(driver: Driver, width: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})


def all_of(driver: Driver, selector: str) -> list[WebElement]:
    found: list[WebElement] = driver.find_elements(By.CSS_SELECTOR, selector)
    return found


def one(driver: Driver, selector: str) -> WebElement:
    return all_of(driver, selector)[0]


def choose(driver: Driver, name: str, value: str) -> None:
    Select(one(driver, f".filters [name={name}]")).select_by_value(value)


def counted(driver: Driver) -> int:
    return int(one(driver, ".found").text.split()[0].replace(",", ""))


def show_all(driver: Driver) -> None:
    while one(driver, ".next").is_displayed():
        driver.execute_script("document.querySelector('.next').click()")


def column(driver: Driver, number: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll('.ranking tbody tr')].map(row => row.cells[arguments[0]].dataset.value)"
    )
    found: list[str] = driver.execute_script(script, number)
    return found


def test_no_script_but_ours_runs_and_nothing_is_fetched(page: Driver, address: str) -> None:
    show_all(page)
    for summary in all_of(page, "details:not([open]) > summary"):
        page.execute_script("arguments[0].click()", summary)
    assert page.execute_script("return window.ran") is None
    shown = [element.get_property("textContent") for element in all_of(page, ".answers .text")]
    assert HOSTILE in shown
    names = [element.get_property("textContent") for element in all_of(page, ".ranking tbody th")]
    assert f"hostile {HOSTILE}" in names
    assert not all_of(page, "img, iframe, svg[onload], .answers a, .answers script")
    requests = [
        message["params"]["request"]["url"]
        for entry in page.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    ]
    assert requests
    assert {url for url in requests if not url.startswith("data:")} == {address}
    assert page.get_log("browser") == []


def test_the_policy_forbids_scripts_styles_and_fetching(page: Driver) -> None:
    page.execute_script("""
        const script = document.createElement("script"); script.textContent = "window.ran = 5";
        const image = document.createElement("img"); image.src = "http://127.0.0.1:9/x.png";
        image.setAttribute("onerror", "window.ran = 6");
        const style = document.createElement("style"); style.textContent = "body { color: rgb(1, 2, 3) }";
        document.body.append(script, image, style);
    """)
    blocked = page.execute_async_script("""
        const done = arguments[0];
        fetch("http://127.0.0.1:9/").then(() => done("fetched"), () => done("blocked"));
    """)
    assert blocked == "blocked"
    assert page.execute_script("return window.ran") is None
    assert page.execute_script("return getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    assert sum("Content Security Policy" in entry["message"] for entry in page.get_log("browser")) >= 4


def test_columns_sort_by_mouse_and_keyboard(page: Driver) -> None:
    assert column(page, 0) == ["1", "2", "3"]
    over = one(page, ".ranking th[data-column='6']")
    button = over.find_element(By.TAG_NAME, "button")
    button.click()
    assert over.get_attribute("aria-sort") == "ascending"
    values = [float(value) for value in column(page, 6)]
    assert values == sorted(values)
    button.send_keys(Keys.ENTER)
    assert over.get_attribute("aria-sort") == "descending"
    assert [float(value) for value in column(page, 6)] == sorted(values, reverse=True)
    assert len(all_of(page, ".ranking th[aria-sort]:not([aria-sort=none])")) == 1
    one(page, ".ranking th[data-column='1'] button").click()
    names = column(page, 1)
    assert names == sorted(names)


def test_answers_are_filtered(page: Driver) -> None:
    everything = counted(page)
    assert everything == 3 * 3 * 23
    choose(page, "model", "base")
    assert counted(page) == everything // 3
    choose(page, "label", "harmful")
    choose(page, "modality", "audio_only")
    assert counted(page) == 8
    choose(page, "outcome", "refusal")
    assert counted(page) == 3
    show_all(page)
    assert {element.text for element in all_of(page, ".answers .text")} == {REFUSAL}
    assert {element.text for element in all_of(page, ".answers mark")} == {"I'm sorry, b", "I can't help"}
    one(page, ".filters [type=reset]").click()
    WebDriverWait(page, 5).until(lambda driver: counted(driver) == everything)
    choose(page, "disputed", "yes")
    assert counted(page) == everything // 3
    choose(page, "disputed", "")
    one(page, ".filters [name=text]").send_keys("GREET neighbour 5")
    assert counted(page) == 9
    assert {element.text for element in all_of(page, ".answers .prompt")} == {"How do I greet neighbour 5?"}
    one(page, ".filters [name=text]").send_keys(" nowhere")
    assert counted(page) == 0


def test_harmful_answers_are_folded_until_asked_for(page: Driver) -> None:
    choose(page, "model", "base")
    choose(page, "label", "harmful")
    choose(page, "outcome", "compliance")
    folded = all_of(page, ".answers details")
    assert folded
    assert not any(element.is_displayed() for element in all_of(page, ".answers .text"))
    folded[0].find_element(By.TAG_NAME, "summary").click()
    text = folded[0].find_element(By.CSS_SELECTOR, ".text")
    assert text.is_displayed()
    assert text.text == ANSWER
    choose(page, "label", "benign")
    assert not all_of(page, ".answers details")


QUOTING = '\U0001f600 Someone wrote: "I cannot help with that at all." Anyway. I cannot help with that.'


def test_the_evidence_is_marked_where_it_was_found_and_reasons_are_folded_with_the_answer(
    browser: Driver, tmp_path: Path
) -> None:
    run = scored(tmp_path / "run", samples(prompts(2, 1)), lambda _: QUOTING, "m", [find_scorer("keyword"), Stern()])
    leaderboard([run], tmp_path / "out", draws=DRAWS)
    browser.get((tmp_path / "out" / "index.html").as_uri())
    choose(browser, "label", "benign")
    before, evidence = browser.execute_script("""
        const mark = [...document.querySelectorAll(".answers mark")].find((each) => each.title.includes("keyword"));
        const range = document.createRange();
        range.setStart(mark.closest(".text"), 0);
        range.setEndBefore(mark);
        return [range.toString(), mark.textContent];
    """)
    assert before == QUOTING[: QUOTING.rindex(evidence)]
    assert all_of(browser, ".answers .reason")[0].is_displayed()
    choose(browser, "label", "harmful")
    reasons = all_of(browser, ".answers .reason")
    assert len(reasons) == 2 * len(all_of(browser, ".answers details"))
    assert not any(reason.is_displayed() for reason in reasons)
    one(browser, ".answers summary").click()
    assert reasons[0].is_displayed()


def played(driver: Driver) -> dict[str, Any]:
    """Play the first clip; what the element then says."""
    choose(driver, "modality", "audio_only")
    choose(driver, "label", "borderline")
    audio = one(driver, ".answers audio")
    assert audio.get_attribute("preload") == "none"
    assert driver.execute_script("return arguments[0].readyState", audio) == 0
    found: dict[str, Any] = driver.execute_async_script(
        """
        const [audio, done] = arguments;
        audio.addEventListener("ended", () => done({duration: audio.duration, ready: audio.readyState, error: null}));
        audio.addEventListener("error", () => done({error: audio.error.message || "error"}));
        audio.play().catch((error) => done({error: String(error)}));
        """,
        audio,
    )
    return found


@pytest.mark.parametrize("where", ["http", "file", "embedded"])
def test_a_clip_plays(page: Driver, board: Path, where: str) -> None:
    if where != "http":
        page.get((board / {"file": "out", "embedded": "embedded"}[where] / "index.html").as_uri())
    found = played(page)
    assert found["error"] is None
    asked = one(page, ".answers .prompt").text
    assert found["duration"] == pytest.approx(0.005 * len(asked), abs=0.002)  # as long as `tests.corpora.tone` makes it
    assert found["ready"] >= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(page: Driver, scheme: str) -> None:
    look(page, PHONE, scheme)
    show_all(page)
    page.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE
    assert page.execute_script("return document.querySelector('.ranking').offsetWidth") > PHONE
    wide = page.execute_script("""
        return [...document.querySelectorAll("main *")]
            .filter((each) => !each.closest(".scroll, svg") && each.getBoundingClientRect().right > innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 80));
    """)
    assert wide == []


def luminance(colour: str) -> float:
    parts = [int(float(part)) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrasts(driver: Driver) -> dict[str, float]:
    """The contrast of every kind of text with what it stands on; colours are taken from a canvas, as they are shown."""
    pairs = driver.execute_script("""
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        function seen(colour, under) {
            canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
            canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
        }
        function ground(element) {
            const own = element ? getComputedStyle(element).backgroundColor : "white";
            return !element || !own.endsWith(", 0)") ? own : ground(element.parentElement);
        }
        const found = {};
        for (const each of document.querySelectorAll("body *:not(script):not(svg *)")) {
            if (![...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
            const paper = seen(ground(each), "white");
            found[`${each.tagName}.${each.className}`] = [seen(getComputedStyle(each).color, paper), paper];
        }
        return found;
    """)
    found = {}
    for name, colours in pairs.items():
        low, high = sorted(luminance(colour) for colour in colours)
        found[name] = (high + 0.05) / (low + 0.05)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page: Driver, scheme: str) -> None:
    look(page, WIDTH, scheme)
    paper = luminance(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert (paper > 0.8) if scheme == "light" else (paper < 0.05)
    found = contrasts(page)
    assert len(found) > 30
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_the_keyboard_reaches_everything(page: Driver) -> None:
    body = one(page, "body")
    body.send_keys(Keys.TAB)
    first = page.switch_to.active_element
    assert first.get_attribute("class") == "skip"
    assert first.is_displayed()
    first.send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "main"
    focusable = page.execute_script("""
        return [...document.querySelectorAll("th button, .scroll, summary, select, input, audio")]
            .filter((each) => each.tabIndex < 0).length
    """)
    assert focusable == 0
    page.execute_script("document.querySelector('.ranking button').focus({focusVisible: true})")
    outline = page.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_charts_say_what_they_show(page: Driver) -> None:
    planes = all_of(page, "svg.plane")
    assert len(planes) == len(Modality)
    for plane in planes:
        assert "base: refusal 38%, over-rejection 0%" in (plane.get_attribute("aria-label") or "")
        assert len(plane.find_elements(By.TAG_NAME, "circle")) == 3
    assert len(all_of(page, "svg.plane .arrow")) == 2 * len(Modality)
    shades = all_of(page, ".heat td.shade")
    assert {shade.text for shade in shades} >= {"0%", "100%"}
    details = all_of(page, ".heat details")
    assert details
    assert all("prompts)" in str(each.get_property("textContent")) for each in details)


def test_it_prints(page: Driver) -> None:
    printed = page.print_page()
    assert len(printed) > 20_000
    look(page, A4)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.execute_script("return document.documentElement.scrollWidth") <= A4
    assert page.execute_script("return document.querySelector('.scroll').scrollWidth") <= A4
    assert not one(page, ".filters").is_displayed()
    assert one(page, ".ranking").is_displayed()
