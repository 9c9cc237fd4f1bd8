"""A headless Chromium, driven over the WebDriver protocol: as much of it as the tests of the page need."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# What WebDriver calls the keys that have no character.
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Left": "\ue012", "Right": "\ue014", "Escape": "\ue00c"}


class Browser:
    """One window. All files of it are in the *profile* directory."""

    def __init__(self, profile):
        environment = {**os.environ, "HOME": str(profile), "TMPDIR": str(profile)}
        # The shell leads a group, with the driver and Chromium in it, and kills it once its input ends: by close(), or
        # because this process is gone, however it went.
        self.driver = subprocess.Popen(
            ["sh", "-c", '"$0" --port=0 & read -r _; kill -KILL 0', DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            port = next(filter(None, (re.search(r"successfully on port (\d+)", line) for line in self.driver.stdout)))[
                1
            ]
            self._url = f"http://127.0.0.1:{port}/session"
            self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            arguments = [*FLAGS, f"--user-data-dir={profile}/chromium"]
            options = {"binary": CHROMIUM, "args": arguments}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self._url += f"/{answer['sessionId']}"
        except BaseException:
            self._end()
            raise

    def close(self):
        with contextlib.suppress(OSError):
            self._ask("DELETE", "")
        self._end()

    def _end(self):
        self.driver.stdin.close()
        self.driver.wait(60)
        self.driver.stdout.close()

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *args):
        """Run the body of a JavaScript function, and return what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script, *args, what):
        """Return what the script returns once that is true."""
        end = time.monotonic() + 60
        while not (found := self.run(script, *args)):
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.02)
        return found

    def press(self, *keys):
        """Press keys, one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def move(self, x, y):
        """Move the mouse to a place in the window."""
        step = {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}
        self._ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [step]}]})

    def drag(self, from_x, to_x, y):
        """Drag the mouse along a line."""
        steps = [
            {"type": "pointerMove", "x": round(from_x), "y": round(y), "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": round((from_x + to_x) / 2), "y": round(y), "duration": 50},
            {"type": "pointerMove", "x": round(to_x), "y": round(y), "duration": 50},
            {"type": "pointerUp", "button": 0},
        ]
        self._ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    def click(self, css):
        """Click an element as a person does: it has to be in view, and nothing over it."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": css})
        self._ask("POST", f"/element/{found[ELEMENT]}/click", {})

    def devtools(self, command, **parameters):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, *, scale=1, dark=False):
        """Make the window like a screen of this size, light or dark."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def log(self):
        """Return what the browser's console has said since it was asked last."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self):
        """Return what is on the screen: a PNG, in base64."""
        return self._ask("GET", "/screenshot")

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from None
