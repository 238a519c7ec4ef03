"""The completion scripts work in the shells that are installed here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import tocsin


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a program `tocsin` in it, as an installation makes one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "tocsin"
    program.write_text(f"#!{sys.executable}\nfrom tocsin.cli.main import main\nmain(prog_name='tocsin')\n")
    program.chmod(0o755)
    return folder


def complete_in_bash(programs: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = tocsin("completion", "bash").out
    asked = " ".join(f"'{word}'" for word in ("tocsin", *words))
    driver = (
        f"{script}\nCOMP_WORDS=({asked}); COMP_CWORD={len(words)}\n_tocsin_completion tocsin 2>/dev/null\n"
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", driver + 'printf "%s\\n" "${COMPREPLY[@]}"; complete -p tocsin'],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    *offered, registered = ran.stdout.splitlines()
    assert "-F _tocsin_completion tocsin" in registered
    return [word for word in offered if word]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sil"], ["silence"]),
        (["status", "--state", ""], ["open", "ack", "silenced", "resolved"]),
        (["status", "--severity", "c"], ["critical"]),
        (["ledger", "ver"], ["verify"]),
        (["backup", "--fo"], ["--force"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes_verbs_options_and_values(
    programs: Path, words: list[str], offered: list[str]
) -> None:
    assert complete_in_bash(programs, *words) == offered


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_a_shell_that_is_installed_can_read_its_script(tmp_path: Path, shell: str, check: str) -> None:
    ran = tocsin("completion", shell)
    (tmp_path / "script").write_text(ran.out)

    assert ran.code == 0
    assert f"_TOCSIN_COMPLETE={shell}_complete" in ran.out
    if shutil.which(shell) is not None:
        subprocess.run([shell, check, str(tmp_path / "script")], check=True, timeout=60)


def test_another_shell_is_a_usage_error_that_names_those_there_are() -> None:
    ran = tocsin("completion", "csh")

    assert ran.code == 2
    assert "'bash', 'zsh', 'fish'" in ran.err
