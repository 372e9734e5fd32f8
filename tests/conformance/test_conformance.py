"""The conformance suite passes our methods, and names what is wrong with broken ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.distill.method_registry import METHODS
from kdbench.training.conformance import full_run_checks, suite
from kdbench.training.conformance.subject import Subject
from tests.conformance import broken
from tests.conftest import one_fast
from tests.kdbench.small_runs import refusal

NAMES = [name for method, kind in METHODS.all().items() for name in (method, *kind.variants)]
LONG = ("one start for all seeds", "state not saved", "an unseeded generator")  # complete runs
MISTAKES = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in broken.MISTAKES]
QUICK = [name for name in suite.names() if name != "resume"]  # which test_kill does to every method
ONCE = {"same seed"}  # three complete runs, which a variant's options do not change

pytestmark = pytest.mark.usefixtures("same_methods_afterwards")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the runs of many methods, which share teachers."""
    return tmp_path_factory.mktemp("runs")


def verdicts(folder: Path, source: str, *only: str, runs: Path | None = None) -> dict[str, suite.Finding]:
    file = folder / "broken_one.py"
    file.write_text(source)
    name = METHODS.add_file(file)
    return {f.check.name: f for f in suite.examine(runs or folder / "runs", name, file=file, only=only)}


@pytest.mark.parametrize("name", one_fast(NAMES, "kd"))
def test_our_methods_and_variants_pass(name: str, runs: Path) -> None:
    asked = set(QUICK) if name in METHODS.all() else set(QUICK) - ONCE
    found = list(suite.examine(runs, name, only=asked))
    assert [f"{f.check.name}: {f.text}" for f in found if f.verdict == "failed"] == []
    assert {f.check.name for f in found} == asked


@pytest.mark.slow
@pytest.mark.parametrize("text", ["OFFLINE", "ONLINE"])
def test_the_good_files_pass(text: str, tmp_path: Path) -> None:
    found = verdicts(tmp_path, getattr(broken, text))
    assert [f"{name}: {f.text}" for name, f in found.items() if f.verdict == "failed"] == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught_by_the_check_that_is_named_for_it(mistake: str, runs: Path, tmp_path: Path) -> None:
    check = broken.MISTAKES[mistake].caught_by
    finding = verdicts(tmp_path, broken.write(mistake), check, runs=runs)[check]
    assert finding.verdict == "failed"
    assert finding.check.meaning
    by_exception = check in ("start", "three classes", "regression")
    assert bool(re.match(r"\w+(Error|Exception|Warning): ", finding.text)) == by_exception, finding.text


def test_every_check_has_a_mistake_that_it_catches() -> None:
    assert {mistake.caught_by for mistake in broken.MISTAKES.values()} == set(suite.names())


@pytest.mark.slow
def test_a_loss_with_noise_is_not_taken_for_a_mistake(tmp_path: Path) -> None:
    source = broken.OFFLINE.replace("kl(t, s, tau)", "kl(t + torch.randn_like(t), s, tau)")
    found = verdicts(tmp_path, "import torch\n" + source, *QUICK)
    assert found["batch order"].text == "the loss draws random numbers of its own"
    assert {n for n, f in found.items() if f.verdict == "failed"} == set()


def test_where_rows_meet_is_said_with_the_line(tmp_path: Path, runs: Path) -> None:
    source = broken.write("each row's logit with every row's")
    line = 1 + source[: source.index("s[:, 1:]")].count("\n")
    found = verdicts(tmp_path, source, "rows apart", runs=runs)["rows apart"]
    assert found.text == (
        f"every row meets every other one in an operation on [B, 1] and [B] (broken_one.py, line {line})"
    )


def test_pairs_of_rows_may_be_meant(tmp_path: Path, runs: Path) -> None:
    source = broken.OFFLINE.replace("kl(t, s, tau)", "(s[:, None] - s - t[:, None] + t).square().mean()")
    source = source.replace('    title = "Good"', '    title = "Good"\n    couples_rows = True')
    assert verdicts(tmp_path, source, "rows apart", runs=runs)["rows apart"].verdict == "not applicable"


@pytest.mark.parametrize("draw", ["np.random.default_rng().random()", "np.random.rand()"])
def test_numbers_of_a_generator_of_ones_own_are_not_seeded(draw: str, tmp_path: Path) -> None:
    source = "import numpy as np\n" + broken.OFFLINE.replace("w * tau**2", f"(1 + {draw}) * w * tau**2")
    (tmp_path / "broken_one.py").write_text(source)
    found = full_run_checks._unseeded_step(Subject(tmp_path, METHODS.add_file(tmp_path / "broken_one.py"), {}))
    assert ("np.random.default_rng(), are not seeded" in found) == ("default_rng" in draw)


@pytest.mark.parametrize("step", ["0.0 if self.context.step < 3 else 1.0", "1.0"])
def test_a_term_may_begin_later(step: str, tmp_path: Path, runs: Path) -> None:
    source = broken.OFFLINE.replace("w, tau = self.options.weight", f"w, tau = ({step}) * self.options.weight")
    assert verdicts(tmp_path, source, "teacher used", runs=runs)["teacher used"].verdict == "passed"


@pytest.mark.slow
def test_a_loss_that_couples_rows_may_say_so(tmp_path: Path) -> None:
    source = broken.OFFLINE.replace("kl(t, s, tau)", "(torch.pdist(s) - torch.pdist(t)).square().sum()")
    source = "import torch\n" + source
    assert verdicts(tmp_path, source, "batch mean")["batch mean"].verdict == "failed"
    (tmp_path / "broken_one.py").unlink()
    METHODS.all().pop("broken_one")
    source = source.replace('    title = "Good"', '    title = "Good"\n    couples_rows = True')
    assert verdicts(tmp_path, source, "batch mean")["batch mean"].verdict == "not applicable"


@pytest.mark.slow
def test_a_student_that_learns_in_every_other_step(tmp_path: Path) -> None:
    source = broken.ONLINE.replace(
        "        self.student.step(loss * (1 + 0.1 * self.average))",
        "        if self.context.step % 2:\n            self.student.step(loss)",
    )
    found = verdicts(tmp_path, source, *QUICK)
    assert [f"{n}: {f.text}" for n, f in found.items() if f.verdict == "failed"] == []


@pytest.mark.slow
def test_settings_that_change_gradients_do_not_raise_an_alarm(tmp_path: Path) -> None:
    sets = {"max_grad_norm": "1", "precision": "bf16"}
    for finding in suite.examine(tmp_path, "kd", sets=sets, only=["labels only", "teacher only"]):
        assert finding.verdict == "passed", finding.text
    (finding,) = suite.examine(tmp_path, "lgtm", sets={"feedback": "validation"}, only=["splits"])
    assert finding.verdict == "passed", finding.text
    (finding,) = suite.examine(tmp_path, "rco", sets={"rco": {"anchors": "20"}}, only=["frozen"])
    assert finding.verdict == "passed", finding.text


def test_a_method_that_does_not_start_is_told_so_and_no_more(tmp_path: Path) -> None:
    found = verdicts(tmp_path, broken.write("feedback not declared"))
    assert list(found) == ["start"]
    assert "does not name 'feedback' in its `requires`" in found["start"].text


def test_the_command_on_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(broken.write("temperature factor dropped"))
    assert app(["check-method", str(file), "--only", "temperature,loss"], standalone_mode=False) == 1
    said = capsys.readouterr().out
    assert re.search(r"FAILED +temperature +doubling a high temperature divides the gradient by 4; the factor", said)
    assert "Softened losses shrink with 1 / tau^2" in said
    assert "mine: 1 passed, 1 failed, in" in said


def test_the_command_on_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert app(["check-method", "kd", "--only", "labels only", "--set", "kd.kd_loss=mse"], standalone_mode=False) == 0
    assert "ok      labels only" in capsys.readouterr().out


def test_bad_input(tmp_path: Path) -> None:
    assert "Unknown method 'kdd'. Did you mean 'kd'?" in refusal("check-method", "kdd")
    assert "There is no file" in refusal("check-method", str(tmp_path / "no.py"))
    assert "Unknown check 'speed'" in refusal("check-method", "kd", "--only", "speed")
    assert "one setting at a time" in refusal("check-method", "kd", "--set", "temperature=2,4")
    (tmp_path / "kd.py").write_text(broken.OFFLINE)
    assert f"Two files define a method 'kd', {METHODS.file_of('kd')} and {tmp_path / 'kd.py'}" in refusal(
        "check-method", str(tmp_path / "kd.py")
    )
    (tmp_path / "lgtm_printed.py").write_text(broken.OFFLINE)
    assert "Two files define a method 'lgtm_printed', " in refusal("check-method", str(tmp_path / "lgtm_printed.py"))
    assert "norm=std turns two logits into a sign" in refusal("check-method", "skd", "--set", "skd.norm=std")
    (tmp_path / "bad.py").write_text("import nothing_of_this_name\n")
    assert "does not load: ModuleNotFoundError" in refusal("check-method", str(tmp_path / "bad.py"))
    (tmp_path / "empty.py").write_text("")
    assert "it defines no method" in refusal("check-method", str(tmp_path / "empty.py"))
