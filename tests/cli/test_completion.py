"""Shells complete the commands, options and files of ``alternant``."""

import shutil
import subprocess

import pytest

from alternant.cli import app as cli

pytest.importorskip("shtab", reason="shells are completed by shtab, the extra `completion`")


def script(shell, capsys):
    capsys.readouterr()
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rec"], {"recommend"}),
        (["recommend", "mod"], {"model.safetensors"}),
        (["recommend", "model.safetensors", "--un"], {"--unknown"}),
        (["recommend", "model.safetensors", "--unknown", "co"], {"cold-start"}),
        (["fit", "--model", "b"], {"blend", "bpr", "biased-mf"}),
        (["serve", "model.safetensors", "--titles", "tit"], {"titles.csv"}),
    ],
)
def test_bash_completes_commands_options_choices_and_files(words, expected, tmp_path, capsys):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    for name in ("model.safetensors", "titles.csv"):
        (tmp_path / name).touch()
    code = f"""{script("bash", capsys)}
function=$(complete -p alternant | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(alternant {" ".join(words)}); COMP_CWORD={len(words)}; COMP_LINE="${{COMP_WORDS[*]}}"
COMP_POINT=${{#COMP_LINE}}
$function alternant "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell, tmp_path, capsys):
    text = script(shell, capsys)
    assert "cold-start" in text
    if shutil.which(shell) is not None:  # elsewhere the script is only printed
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["completion", "cmd"])
    assert "invalid choice: 'cmd'" in capsys.readouterr().err


def test_without_shtab_one_sentence_tells_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert capsys.readouterr().err.endswith("which is not installed: pip install 'alternant[completion]'\n")
