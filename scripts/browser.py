"""A headless Chromium that is told over two pipes what to do (Chrome DevTools Protocol): no port, and no library is needed."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time


def program():
    """The name of the browser, or None."""
    return next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)


class Browser:
    """One browser; with `Page` its pages are driven. It keeps its profile in `folder`."""

    def __init__(self, folder, size=(1280, 900)):
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        # The browser reads from 3 and writes to 4.
        command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        arguments = [program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--remote-debugging-pipe", f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"]
        self.process = subprocess.Popen(["sh", "-c", command, "sh", *arguments], pass_fds=(theirs_in, theirs_out),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.into, self.answers, self.rest, self.number = ours_out, ours_in, b"", 0
        self.events = []

    def do(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            sys.exit(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def message(self):
        while b"\0" not in self.rest:
            some = os.read(self.answers, 1 << 20)
            if not some:
                sys.exit("the browser ended")
            self.rest += some
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def close(self):
        self.do("Browser.close")
        self.process.wait()


class Page:
    """A page of a browser."""

    def __init__(self, browser, address="about:blank"):
        self.browser = browser
        target = browser.do("Target.createTarget", url=address)["targetId"]
        self.session = browser.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def do(self, method, **parameters):
        return self.browser.do(method, self.session, **parameters)

    def run(self, script):
        """What a script says; a script that throws ends the program."""
        result = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"{script}: {result['exceptionDetails']['exception']['description']}")
        return result["result"].get("value")

    def until(self, script):
        for _ in range(200):
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.05)
        sys.exit(f"never true: {script}")

    def key(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def picture(self, file, transparent=False):
        if transparent:
            self.do("Emulation.setDefaultBackgroundColorOverride", color={"r": 0, "g": 0, "b": 0, "a": 0})
        file.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"]))
