"""report.html in Chromium: nothing on the console, nothing from elsewhere, sliders that move
what they should, texts of users as text."""

import json
import os
import re
import shutil
import subprocess

import pytest

EVIL = "a <script>document.title='broken'</script> \"red\" <img src=x onerror=alert(1)> house"

# Works the page as a hand on the keyboard would and leaves what it found in the page.
PROBE = """
const all = (root, what) => [...root.querySelectorAll(what)];
const move = (input, value) => { input.value = value; input.dispatchEvent(new Event("input")); };
const named = (e) => e.labels?.length || e.ariaLabel || e.textContent.trim();
const cases = all(document, ".case:not(#making)").map((root) => {
  const viewer = root.querySelector(".viewer");
  const seen = [];
  const look = () => seen.push({
    label: viewer.querySelector("output").textContent,
    picture: all(root, ".strip .picture img").findIndex(
      (image) => image.src === viewer.querySelector("img").src &&
        image.alt === viewer.querySelector("img").alt),
    now: root.querySelector(".now")?.getAttribute("transform") ?? null});
  for (const radio of viewer ? [null, ...all(viewer, "[type=radio]")] : []) {
    if (radio) radio.click();
    const range = viewer.querySelector("[type=range]");
    for (let value = 0; value <= range.max; value++) { move(range, value); look(); }
  }
  const compare = root.querySelector(".compare");
  compare.open = true;
  const clip = compare.querySelectorAll(".swipe img")[1].style;
  const clips = [0, 100].map((value) => {
    move(compare.querySelector("[type=range]"), value);
    return clip.clipPath;
  });
  const choices = [...compare.querySelector("select").options].map((o) => o.textContent);
  return {seen, clips, choices, heading: root.querySelector("h2").textContent,
          charts: all(root, "svg").length};
});
document.body.append(Object.assign(document.createElement("pre"), {id: "probe", textContent:
  JSON.stringify({cases, title: document.title, command: document.querySelector(".command")
    .textContent, wide: document.documentElement.scrollWidth - innerWidth,
    unnamed: all(document, "a, button, input, select, svg, img").filter((e) =>
      e.tagName === "IMG" ? !e.alt : e.tagName === "A" ? !e.querySelector("img[alt]") &&
      !e.textContent : !named(e)).length,
    foreign: all(document, "[src]").filter((e) => !e.src.startsWith("data:")).length,
    scripts: document.scripts.length})}));
"""


@pytest.fixture
def opened(tmp_path):
    """opened(page, size) is what the probe found in it."""
    chromium = shutil.which("chromium") or pytest.fail("chromium is not installed")

    def run(page, size="1200,900"):
        copy = page.with_name("probed.html")
        copy.write_text(page.read_text() + f"<script>{{{PROBE}}}</script>")
        result = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
             "--enable-logging=stderr", "--disable-dev-shm-usage", f"--window-size={size}",
             f"--user-data-dir={tmp_path / 'profile'}", copy.as_uri()],
            capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
        copy.unlink()
        assert "CONSOLE" not in result.stderr, result.stderr
        found = re.search(r'<pre id="probe">(.*?)</pre>', result.stdout, re.S)
        assert found, result.stderr
        text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return json.loads(text)
    return run


def check_page(found, command):
    assert found["wide"] <= 0 and found["unnamed"] == 0 and found["foreign"] == 0
    assert found["scripts"] == 2 and found["title"].startswith(f"diffens {command}: ")
    assert f"diffens {command}" in found["command"]
    for case in found["cases"]:
        assert case["clips"] == ["inset(0px 0px 0px 0%)", "inset(0px 0px 0px 100%)"]


def test_blend(diffens, opened, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps([EVIL, "plain"]))
    diffens("blend", "--ensemble", "demo", "--prompts", tmp_path / "p.json", "--steps", 1,
            "--size", "64x64", "--gamma", "0,0.5,1", "--layer", "prequant,postquant",
            "--threads", 1, "--out", tmp_path / "run")
    page = tmp_path / "run/report.html"
    found = opened(page, "390,800")
    check_page(found, "blend")
    first = found["cases"][0]
    assert first["heading"] == f"000 {EVIL}" and first["charts"] == 0
    labels = ["gamma 0", "gamma 0.5", "gamma 1"]
    assert [each["label"] for each in first["seen"]] == 3 * labels
    assert [each["picture"] for each in first["seen"]] == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert first["choices"] == ["watercolour", "poster"] + [
        f"{layer}, {label}" for layer in ("prequant", "postquant") for label in labels]
    listed = json.loads((tmp_path / "run/run.json").read_text())["files"]
    assert "report.html" in listed
    for address in re.findall(r'href="(?!#|data:)([^"]+)"', page.read_text()):
        assert (page.parent / address).is_file(), address


def test_optimize(diffens, critical, opened, tmp_path):
    diffens("optimize", "--ensemble", critical, "--prompt", EVIL, "--steps", 1, "--crops",
            "1x1,2x0.5", "--epochs", 6, "--save-every", 3, "--threads", 1, "--out",
            tmp_path / "run")
    found = opened(tmp_path / "run/report.html")
    check_page(found, "optimize")
    case, = found["cases"]
    assert [each["label"] for each in case["seen"]] == ["epoch 0", "epoch 3", "result"]
    assert [each["picture"] for each in case["seen"]] == [0, 1, 2]
    assert len({each["now"] for each in case["seen"]}) == 3 and case["charts"] == 3
    models = json.loads((tmp_path / "run/run.json").read_text())["models"]
    assert case["choices"] == models + ["epoch 0", "epoch 3", "result", "best by loss"]
