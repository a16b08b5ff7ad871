"""Opens the page that the program serves in a headless Chromium and compares its bars with what /events says.

Usage: scripts/serve_page.py [PROGRAM [VIDEO [FOLDER]]]

Leaves screenshots of the page and of the overlay in FOLDER (target/serve). Skips, and says so, without Chromium.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import browser

BARS = """JSON.stringify({frame: document.body.dataset.frame, mark: document.getElementById('mark').textContent,
  cards: [...document.querySelectorAll('.card')].map(card => [card.dataset.key,
    Object.fromEntries([...card.querySelectorAll('li')].map(bar => [bar.dataset.name, [Number(bar.dataset.p),
      bar.querySelector('.bar').getBoundingClientRect().width / bar.querySelector('.rail').clientWidth]]))])})"""


def listen(link, events):
    with urllib.request.urlopen(link) as answer:
        rows = []
        for line in answer:
            if line.startswith(b"data: "):
                rows.append(json.loads(line[6:]))
            elif line == b"\n" and rows:
                events[rows[0]["frame"]] = rows
                rows = []


def main(program="target/release/lanet-live", video="target/media/WolfgangLanger_Pexels.mp4", folder="target/serve"):
    if browser.program() is None:
        print("serve_page: skipped, there is no Chromium")
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    served = subprocess.Popen([program, "--input", video, "--serve", "127.0.0.1:0", "--token", "sesame-42"],
                              stderr=subprocess.PIPE, text=True)
    try:
        link = served.stderr.readline().split()[-1]
        events = {}
        threading.Thread(target=listen, args=(link.replace("/?", "/events?"), events), daemon=True).start()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            chromium = browser.Browser(profile, (1440, 1300))
            page, overlay = browser.Page(chromium, link), browser.Page(chromium, link.replace("/?", "/overlay?"))
            compared = 0
            while served.poll() is None and compared < 20:
                time.sleep(0.25)
                # The page may not be there yet.
                seen = json.loads(page.run(f"document.getElementById('mark') ? {BARS} : '{{}}'"))
                rows = events.get(int(seen.get("frame") or -1), [])
                faces = [row for row in rows if row["track"] is not None]
                if not faces:
                    continue
                assert [key for key, _ in seen["cards"]] == [str(row["track"]) for row in faces], (seen, faces)
                for (_, bars), row in zip(seen["cards"], faces):
                    for expression, p in row["probabilities"].items():
                        number, width = bars[expression]
                        assert number == p and abs(width - p) < 0.01, (expression, bars[expression], p)
                compared += 1
            page.picture(folder / "page.png")
            overlay.picture(folder / "overlay.png", transparent=True)
            chromium.close()
        assert compared >= 10, f"only {compared} frames could be compared: {seen}"
        print(f"serve_page: the bars of {compared} frames are those of /events; see {folder}/page.png, overlay.png")
    finally:
        served.terminate()
        served.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
