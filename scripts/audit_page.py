"""Drives the page of an audit in headless Chromium: see audit_page.sh."""

import base64
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Browser:
    """A Chromium that is told over a pipe what to do (Chrome DevTools Protocol), with one page."""

    def __init__(self, folder):
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if program is None:
            sys.exit("audit_page: there is no chromium; install it")
        (here, theirs), (said, out) = os.pipe(), os.pipe()
        options = f"--headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,900 --user-data-dir={folder} --remote-debugging-pipe"
        line = f"exec {program} {options} 3<&{here} 4>&{out} 2>/dev/null"
        self.process = subprocess.Popen(["sh", "-c", line], pass_fds=(here, out), stdout=subprocess.DEVNULL)
        os.close(here), os.close(out)
        self.to, self.answers, self.rest, self.number, self.session = theirs, said, b"", 0, None
        self.events = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            sys.exit(f"audit_page: {method}: {answer['error']['message']}")
        return answer["result"]

    def message(self):
        while b"\0" not in self.rest:
            some = os.read(self.answers, 1 << 20)
            if not some:
                sys.exit("audit_page: the browser ended")
            self.rest += some
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, address):
        self.do("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && document.querySelector('main').dataset.shown !== undefined")

    def run(self, script):
        result = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"audit_page: {script}: {result['exceptionDetails']['exception']['description']}")
        return result["result"].get("value")

    def until(self, script):
        for _ in range(200):
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.05)
        sys.exit(f"audit_page: never true: {script}")

    def key(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def picture(self, file):
        file.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"]))


def check(what, found, expected):
    if found != expected:
        sys.exit(f"audit_page: {what}: {found!r}, not {expected!r}")
    print(f"ok: {what}")


def choose(browser, box, value):
    browser.run(f"by('{box}').value = {json.dumps(value)}; by('{box}').dispatchEvent(new Event('{'input' if box == 'search' else 'change'}'))")


SHOWN = "[...document.querySelectorAll('article')].map(card => +card.dataset.rank)"


def main():
    page, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    saved = out / "corrections.csv"
    saved.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        browser.open(page.as_uri())
        faces = browser.run("faces.map(({ rank, path, start, end, given, suggested }) => ({ rank, path, start, end, given, suggested }))")
        if len(faces) < 4:
            sys.exit("audit_page: give a page with at least four faces")
        check("every face has its card, worst first", browser.run(SHOWN), [face["rank"] for face in faces])
        browser.run("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        browser.until("[...document.images].every(image => image.complete)")
        check("every picture is shown", browser.run("[...document.images].every(image => image.naturalWidth > 0)"), True)
        browser.picture(out / "page.png")

        choose(browser, "sort", "path")
        order = sorted(faces, key=lambda face: (face["path"].encode("utf-16-be"), face["rank"]))
        check("sorted by path", browser.run(SHOWN), [face["rank"] for face in order])
        choose(browser, "sort", "rank")
        wanted = faces[0]["given"]
        choose(browser, "given", wanted)
        check(f"only {wanted}", browser.run(SHOWN), [face["rank"] for face in faces if face["given"] == wanted])
        choose(browser, "given", "")
        text = faces[1]["path"].upper()
        choose(browser, "search", text)
        found = [face["rank"] for face in faces if text.lower() in face["path"].lower()]
        check("only this path", browser.run(SHOWN), found)
        choose(browser, "search", "no such path")
        check("nothing is like that", browser.run("by('none').textContent"), "No face is like that.")
        choose(browser, "search", "")

        check("nothing to save yet", browser.run("by('save').disabled"), True)
        card = "document.querySelectorAll('article')[%d]"
        browser.run(card % 0 + ".querySelector('.accept').click()")
        browser.run(card % 1 + ".querySelector('.keep').click()")
        names = browser.run("expressions")
        other = next(name for name in names if name not in (faces[2]["given"], faces[2]["suggested"]))
        browser.run(f"{{ const box = {card % 2}.querySelector('select'); box.value = '{other}'; box.dispatchEvent(new Event('change')) }}")
        browser.run(card % 2 + ".focus()")
        browser.key("ArrowRight")
        browser.key("a")
        check("states", browser.run("faces.slice(0, 5).map(state)")[:4], ["corrected", "kept", "corrected", "corrected"])
        browser.picture(out / "corrected.png")
        choose(browser, "state", "corrected")
        check("only what is corrected", browser.run(SHOWN), [faces[n]["rank"] for n in (0, 2, 3)])
        choose(browser, "state", "")

        browser.open(page.as_uri())
        check("decisions outlive the page", browser.run("faces.slice(0, 4).map(state)"), ["corrected", "kept", "corrected", "corrected"])
        browser.do("Page.setDownloadBehavior", behavior="allow", downloadPath=str(out))
        browser.run("by('save').click()")
        for _ in range(100):
            if saved.exists() and saved.read_text().endswith("\n"):
                break
            time.sleep(0.05)
        with open(saved, newline="") as lines:
            rows = list(csv.reader(lines))
        labels = [faces[0]["suggested"], other, faces[3]["suggested"]]
        expected = [[faces[n]["path"], faces[n]["start"], faces[n]["end"], label] for n, label in zip((0, 2, 3), labels)]
        check("the file of corrections", rows, [["path", "start", "end", "label"], *expected])

        browser.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        browser.picture(out / "dark.png")
        asked = [event["params"]["request"]["url"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"]
        foreign = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
        check("nothing is asked of a network", foreign, [])
        thrown = [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]
        check("nothing goes wrong", thrown, [])
        browser.process.terminate()
        browser.process.wait()


main()
