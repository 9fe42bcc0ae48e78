"""One file over HTTP: resumed where it broke off, checked, put in place whole or not at all.
Leaves what to fetch from where to sources.py."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 6  # in a row that bring nothing
LONGEST_WAIT = 60


class FetchError(Exception):
    """One line for the user; `code` is the exit status, as in error.h."""

    def __init__(self, message, code=3):
        super().__init__(message)
        self.code = code


def origin(url):
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the token stays with the host that it is for, and what the first
    answer says of the file is kept: a store behind it knows another ETag."""

    def redirect_request(self, request, body, code, message, headers, url):
        new = super().redirect_request(request, body, code, message, headers, url)
        if origin(request.full_url)[0] == "https" and origin(url)[0] != "https":
            raise FetchError(f"{request.full_url}: found a redirect to {origin(url)[0]}, "
                             "expected https")
        token = request.get_header("Authorization")
        if token and origin(url) == origin(request.full_url):
            new.add_unredirected_header("Authorization", token)
        new.first_answer = request.first_answer
        new.first_answer.setdefault("headers", headers)
        return new


OPENER = urllib.request.build_opener(Redirects)  # proxies: as the environment says


def refusal(url, error):
    """What a 4xx answer means, in words."""
    said = error.headers.get("X-Error-Message") or error.reason
    if error.code in (401, 403):
        return FetchError(
            f"{url}: {error.code} {said}: the model may be gated: accept its licence on its "
            "page, then set HF_TOKEN to a token of your account")
    if error.code == 404:
        return FetchError(f"{url}: 404 {said}: no such model or file there")
    return FetchError(f"{url}: {error.code} {said}")


def is_passing(error):
    """Whether another attempt may go better."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 425, 429) or error.code >= 500
    return isinstance(error, (urllib.error.URLError, http.client.HTTPException, OSError))


class Client:
    """`token` goes to hosts under `token_for` alone. `wait` is the first pause of the
    back-off, in seconds."""

    def __init__(self, token=None, token_for="", wait=1.0, say=lambda line: None):
        self.token, self.token_for, self.wait, self.say = token, token_for, wait, say

    def open(self, url, headers=(), method="GET"):
        request = urllib.request.Request(url, method=method, headers={"User-Agent": "diffens-fetch-models",
                                                       "Accept-Encoding": "identity",
                                                       **dict(headers)})
        if self.token and origin(url) == origin(self.token_for):
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        request.first_answer = {}
        response = OPENER.open(request, timeout=TIMEOUT)
        response.first_headers = request.first_answer.get("headers", response.headers)
        return response

    def pause(self, url, error, attempt):
        seconds = min(self.wait * 2 ** attempt, LONGEST_WAIT)
        asked = getattr(error, "headers", None) and error.headers.get("Retry-After")
        if asked and asked.isdigit():
            seconds = min(max(seconds, int(asked)), LONGEST_WAIT)
        self.say(f"{url}: {error or 'connection lost'}: again in {seconds:.0f} s")
        time.sleep(seconds)

    def json(self, url):
        for attempt in range(ATTEMPTS):
            try:
                with self.open(url) as response:
                    return json.loads(response.read(64 << 20))
            except urllib.error.HTTPError as error:
                if not is_passing(error):
                    raise refusal(url, error) from None
                last = error
            except ValueError:
                raise FetchError(f"{url}: found no JSON, expected a list of files") from None
            except (OSError, http.client.HTTPException) as error:
                last = error
            if attempt + 1 < ATTEMPTS:
                self.pause(url, last, attempt)
        raise FetchError(f"{url}: {last}")

    def size(self, url):
        """The length that the server gives, or None."""
        try:
            with self.open(url, method="HEAD") as response:
                return int(response.headers["Content-Length"])
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                raise refusal(url, error) from None
        except (OSError, http.client.HTTPException, TypeError, ValueError):
            pass
        return None

    def fetch(self, item, target, progress=lambda done, total: None):
        """Downloads `item` (sources.Item) to `target`; returns its SHA-256. A second try
        after a wrong checksum starts from nothing."""
        partial = Partial(target)
        for attempt in range(2):
            expected = self.complete(item, partial, progress)
            found = digests(partial.path)
            wrong = mismatch(expected, found)
            if not wrong:
                partial.publish()
                return found["sha256"]
            partial.remove()
            if attempt == 0:
                self.say(f"{item.url}: {wrong}: once more from the start")
        raise FetchError(f"{item.url}: {wrong}; nothing was kept")

    def complete(self, item, partial, progress):
        """Goes on with the partial file until it is whole; returns the checksums known."""
        fails = 0
        while True:
            before = partial.size()
            try:
                return self.receive(item, partial, progress)
            except urllib.error.HTTPError as error:
                if error.code == 416 and before > 0:
                    partial.remove()
                elif not is_passing(error):
                    raise refusal(item.url, error) from None
                last = error
            except (OSError, http.client.HTTPException) as error:
                last = error
            fails = 0 if partial.size() > before else fails + 1
            if fails == ATTEMPTS:
                raise FetchError(f"{item.url}: {last}; run the same command to go on")
            self.pause(item.url, last, fails)

    def receive(self, item, partial, progress):
        have = partial.size()
        if partial.is_whole():
            return partial.known()
        with self.open(item.url, {"Range": f"bytes={have}-"} if have else {}) as response:
            about = describe(item, response)
            if have and (response.status != 206 or not partial.goes_on(about, response)):
                have = 0
                if response.status == 206:  # the rest of another file
                    partial.remove()
                    raise ConnectionError("the file changed on the server")
            partial.begin(about, have)
            while chunk := response.read(CHUNK):
                partial.append(chunk)
                have += len(chunk)
                progress(have, about["size"])
        if about["size"] is not None and have < about["size"]:
            raise ConnectionError(f"broke off at {have} of {about['size']} bytes")
        if about["size"] is not None and have > about["size"]:
            partial.remove()
            raise FetchError(f"{item.url}: found {have} bytes, expected {about['size']}")
        return about


def describe(item, response):
    """Size and checksums of the whole file, from the answer and what was known before. The
    hub's ETag is the SHA-256 of a large file and git's blob hash of a small one."""
    first = response.first_headers
    etag = (first.get("X-Linked-Etag") or first.get("ETag") or "").removeprefix("W/").strip('"')
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if total:
        size = int(total[1])
    elif response.headers.get("Content-Length", "").isdigit():
        size = int(response.headers["Content-Length"])
    else:
        size = item.size
    about = {"url": item.url, "size": size, "etag": etag, "sha256": item.sha256,
             "blob": item.blob}
    if item.hub and re.fullmatch(r"[0-9a-f]{64}", etag):
        about["sha256"] = about["sha256"] or etag
    elif item.hub and re.fullmatch(r"[0-9a-f]{40}", etag):
        about["blob"] = about["blob"] or etag
    if item.size is not None and size is not None and size != item.size:
        raise FetchError(f"{item.url}: found {size} bytes, expected {item.size}")
    return about


def mismatch(expected, found):
    """What is wrong with a complete file, or "". A SHA-256 may be a prefix."""
    if expected["sha256"] and not found["sha256"].startswith(expected["sha256"]):
        return f"found SHA-256 {found['sha256']}, expected {expected['sha256']}"
    if not expected["sha256"] and expected["blob"] and found["blob"] != expected["blob"]:
        return f"found git hash {found['blob']}, expected {expected['blob']}"
    return ""


def digests(path):
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return {"sha256": sha256.hexdigest(), "blob": blob.hexdigest()}


class Partial:
    """TARGET.partial, and TARGET.partial.json that says of which file it is a part."""

    def __init__(self, target):
        self.target = pathlib.Path(target)
        self.path = self.target.with_name(self.target.name + ".partial")
        self.about = self.target.with_name(self.target.name + ".partial.json")

    def size(self):
        """Bytes that can be gone on from."""
        if not self.about.exists() or not self.path.exists():
            return 0
        return self.path.stat().st_size

    def known(self):
        try:
            return json.loads(self.about.read_text())
        except (OSError, ValueError):
            return {}

    def is_whole(self):
        return self.size() > 0 and self.size() == self.known().get("size")

    def goes_on(self, about, response):
        """Whether the answer is the rest of what is here."""
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        same = all(self.known().get(key) == about[key] for key in ("size", "etag", "sha256"))
        return same and start and int(start[1]) == self.size()

    def begin(self, about, have):
        with self.writing():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            if not have:
                self.path.write_bytes(b"")
            self.about.write_text(json.dumps(about) + "\n")

    def append(self, chunk):
        with self.writing(), open(self.path, "ab") as out:
            out.write(chunk)

    @contextlib.contextmanager
    def writing(self):
        try:
            yield
        except OSError as error:
            raise FetchError(f"{self.path}: cannot write: {error.strerror}; what is there "
                             "is kept, the same command goes on", 4) from None

    def publish(self):
        with self.writing():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self.path, self.target)
            self.about.unlink()

    def remove(self):
        self.path.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)
