import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import warnings

import gymnasium
import pytest

from lab import cli, interrupt
from lab.errors import Notice
from lab.run import Run


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["trian"], "did you mean train?"),
        (["train", "dqm"], "did you mean dqn?"),
        (["train", "dqn", "--enw", "x"], "did you mean --env?"),
        (["train", "dqn", "--gamma", "abc"], "abc"),
        (["train", "dqn", "--protocol", "classics"], "classic"),
        (["train", "dqn", "--env", "ALE/Pongg-v5"], "ALE/Pong-v5"),
        (["train", "dqn", "--env", "CartPole-v9"], "CartPole-v1"),
        (["train", "dqn", "--env", "CartPole"], "did you mean CartPole-v1"),
        (["train", "dqn", "--env", "PongNoFrameskip-v4"], "ALE/Pong-v5"),
        (["train", "dqn", "--env", "Pendulum-v1"], "Discrete"),
        (["train", "dqn", "--env", "CartPole-v1", "--gamma", "1.5"], "gamma must lie in [0, 1], not 1.5"),
        (["train", "dqn", "--env", "CartPole-v1", "--device", "cudda"], "cudda"),
        (["evaluate", "nowhere"], "nowhere is not the folder of a run"),
        (["watch", "nowhere"], "nowhere is not the folder of a run"),
        (["evaluate"], "RUN"),
    ],
)
def test_wrong_words_get_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, words, near):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert near in shown.err and not list(tmp_path.iterdir())


def test_the_command_itself_refuses_without_a_traceback(refused):
    assert "did you mean web-traffic" in refused("forecast", "web-trafic")


@pytest.mark.parametrize("words", [["forecast", "caf\udce9.csv"], ["report", ".", "--title", "caf\udce9"]])
def test_a_word_that_is_no_text_is_refused_before_anything_is_made(refused, tmp_path, words):
    """A Latin-1 byte, as Python hands it over."""
    assert "caf\\udce9" in refused(*words)
    assert not list(tmp_path.iterdir())


def test_a_page_is_utf_8_in_every_locale(lab_command, tmp_path):
    with Run.open(tmp_path, "run", {"series": "Größe"}) as run:
        run.text("note", "Größe – “ß”")
        run.finish({})
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = lab_command("report", ".", **plain)
    assert done.returncode == 0, done.stderr
    assert "Größe – “ß”" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads(lab_command("list", "--runs", ".", "--json", **plain).stdout)["runs"][0]["finished"]


def test_every_command_explains_itself(capsys):
    def leaves(commands, path):
        for name, command in commands.items():
            yield from leaves(command, [*path, name]) if isinstance(command, dict) else [[*path, name]]

    for words in leaves(cli.COMMANDS, []):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, "--help"])
        assert stop.value.code == 0
        assert "usage: lab " + " ".join(words) in capsys.readouterr().out


def test_a_warning_loses_the_colours_that_a_library_gave_it(monkeypatch, capsys):
    yellow = gymnasium.logger.colorize("WARN: odd", "yellow")
    monkeypatch.setattr(cli.List, "__call__", lambda self: warnings.warn(yellow, Notice, stacklevel=2))
    cli.main(["list"])
    assert capsys.readouterr().err == "lab: warning: WARN: odd\n"


@pytest.mark.parametrize(("words", "said"), [
    ("--total-steps 1e5", "'1e5' is no whole number; write all of its digits, 100000"),
    ("--learning-rate much", "'much' is no number"), ("--env=", "no environment is named; give one with --env"),
    ("--device gpu", "device 'gpu' cannot be used (no such device); use auto, cpu or cuda"),
])  # fmt: skip
def test_what_is_wrong_with_an_option_is_said_in_plain_words(capsys, tmp_path, words, said):
    assert cli.main(["train", "dqn", "--env", "lab/Catch-v0", *words.split(), "--runs", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_overview_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in cli.COMMANDS)


def test_help_imports_nothing_heavy():
    heavy = {"torch", "sktime", "pandas", "gymnasium", "matplotlib", "numpy"}
    code = f"import sys, lab.cli; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_help_answers_in_half_a_second():
    def once():
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lab.cli", "train", "dqn", "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    assert min(once() for _ in range(5)) < 0.5


@pytest.mark.parametrize("blocks", [1, 60])  # KiB: before the first step, and on the way
def test_a_full_disk_is_named_in_one_line_without_a_traceback(tmp_path, blocks):
    """A limit on the size of files stands for the disk."""
    words = (
        "train dqn --env lab/Chain-v0 --total-steps 3000 --learning-starts 100 --log-every 10 --runs runs --name full"
    )
    limited = f"ulimit -f {blocks}; exec {shlex.quote(sys.executable)} -m lab.cli {words}"
    done = subprocess.run(["bash", "-c", limited], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1] == "lab: runs: File too large; name another place or mend this one"


def test_a_page_that_finds_no_room_names_its_folder_and_leaves_nothing(tmp_path):
    with Run.open(tmp_path / "mine", "run", {}) as run:
        run.finish({})
    (tmp_path / "mine" / "report.html").write_text("before")
    limited = f"ulimit -f 1; exec {shlex.quote(sys.executable)} -m lab.cli report mine"
    done = subprocess.run(["bash", "-c", limited], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "lab: mine: File too large; name another place or mend this one\n")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["report.html", "run"]
    assert (tmp_path / "mine" / "report.html").read_text() == "before"


def test_ctrl_c_ends_with_its_own_exit_code_and_one_line(monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.List, "__call__", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr() == ("", "lab: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ctrl_c_is_a_wish_and_the_second_an_end(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupt.stop_wanted() as wanted:
        assert not wanted()
        os.kill(os.getpid(), number)
        assert wanted()
        os.kill(os.getpid(), number)
        time.sleep(1)  # it comes meanwhile
    assert signal.getsignal(number) == before


def test_other_threads_say_what_ended_them(monkeypatch):
    said = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    with cli._said_once():
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    assert [each.exc_type for each in said] == [ZeroDivisionError]
