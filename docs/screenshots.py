"""Take the pictures of a leaderboard that the guides show: python docs/screenshots.py board/index.html

Needs Chromium and its driver, selenium, and Pillow. Writes docs/images/leaderboard-light.png, -dark.png, -phone.png
and -answers.png, each below 300 kB.
"""

import argparse
import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
LARGEST = 300_000
"""Bytes of a picture."""
WIDE, PHONE = (1240, 1800), (390, 900)
"""Width and height in CSS pixels."""


@contextmanager
def browser() -> Iterator[WebDriver]:
    """Debian's Chromium, without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def picture(driver: WebDriver, page: Path, size: tuple[int, int], *, scheme: str, top: str = "body") -> Image.Image:
    """What stands on a page from the top of an element on, at two device pixels a CSS pixel."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(page.resolve().as_uri())
    y = driver.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY", top)
    clip = {"x": 0, "y": max(0, y - 24 * (top != "body")), "width": width, "height": height, "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return Image.open(io.BytesIO(base64.b64decode(shot["data"])))


def save(image: Image.Image, path: Path) -> None:
    """Write a picture in at most 256 colours, made smaller until it fits."""
    while True:
        file = io.BytesIO()
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST:
            path.write_bytes(file.getvalue())
            print(f"{path}: {image.width} x {image.height}, {file.tell() // 1000} kB")
            return
        image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with browser() as driver:
        shots = {
            "light": picture(driver, arguments.page, WIDE, scheme="light"),
            "dark": picture(driver, arguments.page, WIDE, scheme="dark"),
            "phone": picture(driver, arguments.page, PHONE, scheme="light", top=".corpus"),
            "answers": picture(driver, arguments.page, (WIDE[0], 900), scheme="light", top="#samples"),
        }
    for name, image in shots.items():
        save(image, arguments.out / f"leaderboard-{name}.png")


if __name__ == "__main__":
    main()
