"""Drives the page of an audit in headless Chromium: see audit_page.sh."""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

import browser


def show(page, address):
    page.do("Page.navigate", url=address)
    page.until("document.readyState === 'complete' && document.querySelector('main').dataset.shown !== undefined")


def check(what, found, expected):
    if found != expected:
        sys.exit(f"audit_page: {what}: {found!r}, not {expected!r}")
    print(f"ok: {what}")


def choose(tab, box, value):
    tab.run(f"by('{box}').value = {json.dumps(value)}; by('{box}').dispatchEvent(new Event('{'input' if box == 'search' else 'change'}'))")


SHOWN = "[...document.querySelectorAll('article')].map(card => +card.dataset.rank)"


def main():
    if browser.program() is None:
        sys.exit("audit_page: there is no chromium; install it")
    page, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    saved = out / "corrections.csv"
    saved.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        chromium = browser.Browser(folder)
        tab = browser.Page(chromium)
        for domain in ("Page", "Runtime", "Network"):
            tab.do(f"{domain}.enable")
        show(tab, page.as_uri())
        faces = tab.run("faces.map(({ rank, path, start, end, given, suggested }) => ({ rank, path, start, end, given, suggested }))")
        if len(faces) < 4:
            sys.exit("audit_page: give a page with at least four faces")
        check("every face has its card, worst first", tab.run(SHOWN), [face["rank"] for face in faces])
        tab.run("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        tab.until("[...document.images].every(image => image.complete)")
        check("every picture is shown", tab.run("[...document.images].every(image => image.naturalWidth > 0)"), True)
        tab.picture(out / "page.png")

        choose(tab, "sort", "path")
        order = sorted(faces, key=lambda face: (face["path"].encode("utf-16-be"), face["rank"]))
        check("sorted by path", tab.run(SHOWN), [face["rank"] for face in order])
        choose(tab, "sort", "rank")
        wanted = faces[0]["given"]
        choose(tab, "given", wanted)
        check(f"only {wanted}", tab.run(SHOWN), [face["rank"] for face in faces if face["given"] == wanted])
        choose(tab, "given", "")
        text = faces[1]["path"].upper()
        choose(tab, "search", text)
        found = [face["rank"] for face in faces if text.lower() in face["path"].lower()]
        check("only this path", tab.run(SHOWN), found)
        choose(tab, "search", "no such path")
        check("nothing is like that", tab.run("by('none').textContent"), "No face is like that.")
        choose(tab, "search", "")

        check("nothing to save yet", tab.run("by('save').disabled"), True)
        card = "document.querySelectorAll('article')[%d]"
        tab.run(card % 0 + ".querySelector('.accept').click()")
        tab.run(card % 1 + ".querySelector('.keep').click()")
        names = tab.run("expressions")
        other = next(name for name in names if name not in (faces[2]["given"], faces[2]["suggested"]))
        tab.run(f"{{ const box = {card % 2}.querySelector('select'); box.value = '{other}'; box.dispatchEvent(new Event('change')) }}")
        tab.run(card % 2 + ".focus()")
        tab.key("ArrowRight")
        tab.key("a")
        check("states", tab.run("faces.slice(0, 5).map(state)")[:4], ["corrected", "kept", "corrected", "corrected"])
        tab.picture(out / "corrected.png")
        choose(tab, "state", "corrected")
        check("only what is corrected", tab.run(SHOWN), [faces[n]["rank"] for n in (0, 2, 3)])
        choose(tab, "state", "")

        show(tab, page.as_uri())
        check("decisions outlive the page", tab.run("faces.slice(0, 4).map(state)"), ["corrected", "kept", "corrected", "corrected"])
        tab.do("Page.setDownloadBehavior", behavior="allow", downloadPath=str(out))
        tab.run("by('save').click()")
        for _ in range(100):
            if saved.exists() and saved.read_text().endswith("\n"):
                break
            time.sleep(0.05)
        with open(saved, newline="") as lines:
            rows = list(csv.reader(lines))
        labels = [faces[0]["suggested"], other, faces[3]["suggested"]]
        expected = [[faces[n]["path"], faces[n]["start"], faces[n]["end"], label] for n, label in zip((0, 2, 3), labels)]
        check("the file of corrections", rows, [["path", "start", "end", "label"], *expected])

        tab.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        tab.picture(out / "dark.png")
        asked = [event["params"]["request"]["url"] for event in chromium.events if event.get("method") == "Network.requestWillBeSent"]
        foreign = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
        check("nothing is asked of a network", foreign, [])
        thrown = [event for event in chromium.events if event.get("method") == "Runtime.exceptionThrown"]
        check("nothing goes wrong", thrown, [])
        chromium.close()


main()
