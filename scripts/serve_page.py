"""Opens the page that the program serves in a headless Chromium and compares its bars with what /events says.

Usage: scripts/serve_page.py [PROGRAM [VIDEO [FOLDER]]]

Leaves screenshots of the page and of the overlay in FOLDER (target/serve). Skips, and says so, without Chromium.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

BARS = """JSON.stringify({frame: document.body.dataset.frame, mark: document.getElementById('mark').textContent,
  cards: [...document.querySelectorAll('.card')].map(card => [card.dataset.key,
    Object.fromEntries([...card.querySelectorAll('li')].map(bar => [bar.dataset.name, [Number(bar.dataset.p),
      bar.querySelector('.bar').getBoundingClientRect().width / bar.querySelector('.rail').clientWidth]]))])})"""


class Browser:
    """Speaks DevTools with a Chromium through two pipes: no port, and no library is needed."""

    def __init__(self, name, profile):
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # The browser reads from 3 and writes to 4.
        command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        arguments = [name, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
                     f"--user-data-dir={profile}", "--window-size=1440,1300"]
        self.process = subprocess.Popen(["sh", "-c", command, "sh", *arguments], pass_fds=(theirs_in, theirs_out),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.into, self.count = ours_out, os.fdopen(ours_in, "rb"), 0

    def ask(self, method, session=None, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            text = bytearray()
            while (byte := self.into.read(1)) != b"\0":
                if not byte:
                    raise SystemExit("serve_page: the browser has gone")
                text += byte
            answer = json.loads(text)
            if answer.get("id") == self.count:
                return answer.get("result", answer)

    def open(self, link):
        target = self.ask("Target.createTarget", url=link)["targetId"]
        return self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def screenshot(self, session, path, transparent=False):
        if transparent:
            self.ask("Emulation.setDefaultBackgroundColorOverride", session, color={"r": 0, "g": 0, "b": 0, "a": 0})
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", session, format="png")["data"]))


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
    name = next(filter(shutil.which, ["chromium", "chromium-browser", "google-chrome"]), None)
    if name is None:
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
            browser = Browser(name, profile)
            page, overlay = browser.open(link), browser.open(link.replace("/?", "/overlay?"))
            compared = 0
            while served.poll() is None and compared < 20:
                time.sleep(0.25)
                seen = browser.ask("Runtime.evaluate", page, expression=BARS)["result"].get("value")
                seen = json.loads(seen) if seen else {}
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
            browser.screenshot(page, folder / "page.png")
            browser.screenshot(overlay, folder / "overlay.png", transparent=True)
            browser.ask("Browser.close")
        assert compared >= 10, f"only {compared} frames could be compared: {seen}"
        print(f"serve_page: the bars of {compared} frames are those of /events; see {folder}/page.png, overlay.png")
    finally:
        served.terminate()
        served.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
