"""Mistakes in the options of a method of one's own are named when its file is loaded; those of its loss, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.core.errors import UserError
from kdbench.core.options import Options, option
from kdbench.core.settings import GROUPS
from kdbench.distill.method_registry import METHODS
from kdbench.training.conformance import suite
from tests.kdbench.small_runs import refusal
from tests.kdbench.test_method_files import forget

SOURCE = '''from kdbench import Distillation, Options, option
from kdbench.distill.losses import kl


class MineOptions(Options):
    weight: float = option(0.4, "weight of the distillation term", ge=0, le=1)
    {option}


class Mine(Distillation):
    """Learn."""

    title = "Mine"
    options_type = MineOptions
    {attribute}

    def loss(self, batch):
        found = self.options.weight * kl(self.teacher.logits(batch), self.student.logits(batch))
        return {loss}
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    forget(monkeypatch)
    return tmp_path


def write(folder: Path, *, option: str = "", attribute: str = "", loss: str = "found") -> Path:
    file = folder / "mine.py"
    file.write_text(SOURCE.format(option=option, attribute=attribute, loss=loss))
    return file


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("variants = {'hot': ('Hot', {'wieght': 0.5})}",
         "Unknown key of Mine.variants['hot'] 'wieght'. Did you mean 'weight'? Valid: weight."),
        ("variants = {'hot': ('Hot', {'weight': 5})}",
         "Mine.variants['hot']: weight=5 is not valid: it should be at most 1"),
        ("variants = {'hot': ('Hot', {'epochs': 5})}", "Unknown key of Mine.variants['hot'] 'epochs'."),
        ("limits = {'labels_only': {'wieght': 0}}", "Unknown key of Mine.limits['labels_only'] 'wieght'."),
        ("class_options = {'wieght': (0,)}", "Unknown key of Mine.class_options 'wieght'."),
    ],
)  # fmt: skip
def test_values_that_a_class_gives_its_options_are_checked(attribute: str, said: str, here: Path) -> None:
    file = str(write(here, attribute=attribute))
    for arguments in (("check-method", file), ("run", "--methods", file, "--tasks", "rte", "--dry-run")):
        assert said in refusal(*arguments)


def test_limits_and_class_options_may_be_inherited_without_their_options(here: Path) -> None:
    (here / "mine.py").write_text(
        "from kdbench import Options\nfrom kdbench.methods.kd import KD\n\n\nclass Bare(Options):\n    pass\n\n\n"
        'class Mine(KD):\n    title = "Mine"\n    options_type = Bare\n'
    )
    assert METHODS.add_file(here / "mine.py") == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tau: float", "option 'tau' of MineOptions has no default; declare it by tau: TYPE = option(DEFAULT, DOC)."),
        ("tau: float = option(-1, 'softens', gt=0)", "Mine.options_type: tau=-1 is not valid"),
    ],
)
def test_an_option_needs_a_valid_default(text: str, said: str, here: Path) -> None:
    assert said in refusal("run", "--methods", str(write(here, option=text)), "--tasks", "rte", "--dry-run")


@pytest.mark.parametrize("key", [next(iter(group.model_fields)) for group in GROUPS.values()] + ["warmup", "epochs"])
def test_an_option_cannot_have_the_name_of_a_setting(key: str, here: Path) -> None:
    said = refusal("check-method", str(write(here, option=f"{key}: int = option(1, 'mine')")))
    assert f"option '{key}' of MineOptions has the name of a setting of kdbench (" in said
    assert f"--set {key}=VALUE would set both; rename the option." in said


def test_an_option_without_a_default_elsewhere_is_called_missing() -> None:
    class Needed(Options):
        account: str = option(..., "who pays")

    with pytest.raises(UserError, match=r"^executor 'mine': account is missing \(who pays; no default\); give it"):
        Needed.parse({}, "executor 'mine'")


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("found.expand(2, 3)", "the loss has the shape [2, 3], where one number is expected; take its mean over"),
        ("1.5", "the loss is 1.5, of type float, where a tensor with one number is expected"),
        ("None", "the loss is None, of type NoneType, where a tensor with one number is expected"),
        ("found.detach()", "the loss has no gradient: all of it is detached from the networks"),
    ],
)
def test_a_loss_that_cannot_teach_is_put_into_words(loss: str, said: str, here: Path) -> None:
    name = METHODS.add_file(write(here, loss=loss))
    (finding,) = suite.examine(here / "runs", name, file=here / "mine.py", only=["start"])
    assert finding.verdict == "failed"
    assert finding.text.startswith(said)


def test_a_file_without_a_method_is_named(here: Path) -> None:
    (here / "methods").mkdir()
    (here / "methods" / "mine.py").write_text("")
    what = "it defines no method, that is, a class with a title, derived from kdbench.distill.method.Method."
    assert refusal("run", "--methods", "./methods/mine.py").endswith(f"does not load: {what}")
    assert f"There is a file 'methods/mine.py', but {what}" in refusal("run", "--methods", "mine")
    (here / "tasks").mkdir()
    (here / "tasks" / "spam.py").write_text("")
    assert "There is a file 'tasks/spam.py', but it defines no task, " in refusal("run", "--tasks", "spam")
