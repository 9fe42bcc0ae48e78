"""What the build installs beside the program: the manual page, and completions, in the
shells that they are for."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest


@pytest.fixture
def page(build):
    return lambda kind: next((build / "pages" / kind).iterdir())


def run(*command, **options):
    result = subprocess.run(command, text=True, capture_output=True, timeout=120, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_manual(page):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is missing")
    assert run("mandoc", "-T", "lint", page("man")) == ""
    text = re.sub(".\b", "", run("mandoc", "-T", "utf8", page("man")))
    for word in ("--gamma", "--save-every", "DIFFENS_DEVICE", "EXIT", "preconv",
                 "exit-status, limits", "safetensors-header"):
        assert word in text


# values that an option takes beside others
OFFERED = [("blend", "--layer", "preconv all"), ("optimize", "--augment", "flip all none"),
           ("optimize", "--seed", "noise gaussian input"),
           ("generate", "--ensemble", "demo paper"), ("generate", "--device", "auto cpu cuda")]


def complete_bash(page, *words):
    script = f"""
        source {page('bash')}
        COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}') COMP_CWORD={len(words) - 1}
        _diffens; printf '%s\\n' "${{COMPREPLY[@]}}"; complete -p diffens"""
    return run("bash", "--norc", "-c", script).splitlines()


def test_bash(page, tmp_path):
    assert "blend" in complete_bash(page, "diffens", "bl")
    options = complete_bash(page, "diffens", "blend", "--ga")
    assert "--gamma" in options and "--epochs" not in options
    assert "--epochs" in complete_bash(page, "diffens", "optimize", "--ep")
    assert "euler-a" in complete_bash(page, "diffens", "generate", "--scheduler", "eu")
    assert "layers" in complete_bash(page, "diffens", "help", "la")
    assert complete_bash(page, "diffens", "models", "ch")[0] == "check"
    assert complete_bash(page, "diffens", "models", "show", "d")[0] == "demo"
    for command, option, words in OFFERED:
        for word in words.split():
            assert word in complete_bash(page, "diffens", command, option, word[:2]), option
    (tmp_path / "a file").touch()
    script = f"cd '{tmp_path}'; source {page('bash')}; COMP_WORDS=(diffens blend --prompts a)"
    out = run("bash", "--norc", "-c", script + "; COMP_CWORD=3; _diffens; "
              'echo "${#COMPREPLY[@]} ${COMPREPLY[0]}"')
    assert out == "1 a file\n"
    for words in ("inspect", "merge", "blend -o"):
        script = f"cd '{tmp_path}'; source {page('bash')}; COMP_WORDS=(diffens {words} a)"
        out = run("bash", "--norc", "-c", script + "; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
                  '_diffens; printf "%s\\n" "${COMPREPLY[@]}"')
        assert out == "a file\n", words


def test_zsh(page, tmp_path):
    if not shutil.which("zsh"):
        pytest.skip("zsh is missing")
    folder = page("zsh").parent
    script = f"""
        fpath=({folder} $fpath); autoload -Uz compinit; compinit -D
        [[ $_comps[diffens] == _diffens ]] || exit 3
        autoload -Uz +X _diffens
        _describe() {{ print -r -- ${{(P)2}} }}
        _arguments() {{ print -rl -- "$@" }}
        words=(diffens bl) CURRENT=2; _diffens
        words=(diffens blend --ga) CURRENT=3; _diffens"""
    out = run("zsh", "-f", "-c", script, env={**os.environ, "HOME": str(tmp_path)})
    assert "optimize:" in out and "--gamma[" in out and "--epochs[" not in out
    assert ":NAME:(pndm ddim" in out and ":DIR:_files" in out
    for _, option, words in OFFERED:
        line = next(x for x in page("zsh").read_text().splitlines()
                    if f"'{option}[" in x and words.split()[0] in x)
        assert set(words.split()) <= set(re.split(r"\W+", line.split("]:")[1])), line


def test_fish(page, tmp_path):
    if not shutil.which("fish"):
        pytest.skip("fish is missing")

    def complete(line):
        return run("fish", "--no-config", "-c", f"source {page('fish')}; complete -C '{line}'",
                   env={**os.environ, "HOME": str(tmp_path)}).splitlines()
    assert any(word.startswith("blend\t") for word in complete("diffens bl"))
    options = complete("diffens blend --")
    assert any(word.startswith("--gamma\t") for word in options)
    assert not any(word.startswith("--epochs\t") for word in options)
    assert any(w.startswith("euler-a\t") for w in complete("diffens generate --scheduler eu"))
    assert "layers" in complete("diffens help la")
    assert "check" in complete("diffens models ch")
    assert "demo" in complete("diffens models show d")
    for command, option, words in OFFERED:
        for word in words.split():
            said = complete(f"diffens {command} {option} {word[:2]}")
            assert any(w.split("\t")[0] == word for w in said), option
    assert any(w.startswith("/tmp/") for w in complete("diffens inspect /tm"))
