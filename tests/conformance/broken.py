"""Methods with a mistake in them. Each is a good file with one passage exchanged."""

from __future__ import annotations

from dataclasses import dataclass

OFFLINE = '''
"""A good method: a frozen teacher."""

from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import Distillation
from kdbench.core.options import Options, option


class GoodOptions(Options):
    weight: float = option(0.4, "weight of the distillation term", ge=0, le=1)
    temperature: float = option(2.0, "softens both sides", gt=0)


class Good(Distillation):
    """Match the teacher's probabilities."""

    title = "Good"
    options_type = GoodOptions
    limits = {"labels_only": {"weight": 0.0}, "teacher_only": {"weight": 1.0}}

    def loss(self, batch):
        w, tau = self.options.weight, self.options.temperature
        s, t = self.student.logits(batch), self.teacher.logits(batch)
        return (1 - w) * cross_entropy(batch.labels, s) + w * tau**2 * kl(t, s, tau)
'''

ONLINE = '''
"""A good method: a teacher that learns along, and something to remember."""

import torch

from kdbench.distill.losses import cross_entropy, kl
from kdbench.distill.method import Online, OnlineOptions


class Good(Online):
    """Learn from a teacher that learns."""

    title = "Good"
    requires = Online.requires | {"feedback"}
    options_type = OnlineOptions

    def build(self, context):
        super().build(context)
        self.average = torch.zeros(())

    def step(self, batch):
        fed = self.context.feedback()
        teacher_loss = cross_entropy(batch.labels, self.teacher.logits(batch))
        self.teacher.step(teacher_loss + 0.1 * cross_entropy(fed.labels, self.teacher.logits(fed)))
        t, s = self.teacher.target_logits(batch), self.student.logits(batch)
        loss = cross_entropy(batch.labels, s) + kl(t, s)
        self.average = 0.9 * self.average + 0.1 * loss.detach()
        self.student.step(loss * (1 + 0.1 * self.average))
        return {"loss": loss, "average": self.average}

    def state(self):
        return {"average": self.average}

    def load_state(self, state):
        self.average = state["average"]
'''


@dataclass(frozen=True)
class Mistake:
    """What is exchanged in which file, and the check that must see it."""

    caught_by: str
    text: str
    good: str
    bad: str

    @property
    def source(self) -> str:
        assert self.text.count(self.good) == 1
        return self.text.replace(self.good, self.bad)


MISTAKES = {
    "logits worth a sign": Mistake(
        "strength",
        OFFLINE,
        "        return (1",
        "        s = s / s.std(1, keepdim=True) * t.std(1, keepdim=True)\n        return (1",
    ),
    "a frozen teacher with an optimiser": Mistake(
        "frozen",
        OFFLINE,
        "        return (1",
        "        for p in self.teacher.module.parameters():\n            p.data.mul_(0.99)\n        return (1",
    ),
    "one start for all seeds": Mistake(
        "same seed",
        OFFLINE,
        "    def loss(self, batch):\n",
        "    def loss(self, batch):\n"
        "        if self.context.step == 0:\n"
        "            for p in self.student.params:\n"
        "                p.data.fill_(0.01)\n"
        "        return sum((p * p).sum() for p in self.student.params)\n",
    ),
    "temperature factor dropped": Mistake("temperature", OFFLINE, "w * tau**2 * kl", "w * kl"),
    "teacher not detached": Mistake(
        "detached", ONLINE, "self.teacher.target_logits(batch), self", "self.teacher.logits(batch), self"
    ),
    "logits of another batch": Mistake(
        "batch order",
        OFFLINE,
        "self.student.logits(batch), self.teacher.logits(batch)\n",
        "self.student.logits(batch), self.teacher.logits(batch)\n"
        "        self.before, t = t, getattr(self, 'before', t)[: len(t)]\n",
    ),
    "dropout left on in the teacher": Mistake(
        "frozen",
        OFFLINE,
        "self.teacher.logits(batch)\n",
        "self.teacher.module.train()(**batch.inputs).logits.detach()\n",
    ),
    "frozen teacher gets gradients": Mistake(
        "frozen",
        OFFLINE,
        "self.teacher.logits(batch)\n",
        "self.teacher.module.requires_grad_(True)(**batch.inputs).logits\n",
    ),
    "answers kept by row": Mistake(
        "changed inputs",
        OFFLINE,
        "        return (1",
        "        known = vars(self).setdefault('known', {})\n"
        "        t = t.new_tensor([known.setdefault(i, row) for i, row in zip(batch.index.tolist(), t.tolist())])\n"
        "        return (1",
    ),
    "the row's own tokens looked up": Mistake(
        "changed inputs",
        OFFLINE,
        "self.teacher.logits(batch)\n",
        "None\n"
        "        from kdbench.data.batches import collate\n"
        "        tokens, rows = self.context._data.tokens, batch.index\n"
        "        t = self.teacher.logits(collate(tokens, rows.numpy(), rows.device))\n",
    ),
    "weights the wrong way round": Mistake(
        "labels only",
        OFFLINE,
        "(1 - w) * cross_entropy(batch.labels, s) + w * tau",
        "w * cross_entropy(batch.labels, s) + (1 - w) * tau",
    ),
    "labels in the teacher's term": Mistake(
        "teacher only",
        OFFLINE,
        "w * tau**2 * kl(t, s, tau)",
        "w * tau**2 * kl(t, s + 0.3 * s * batch.labels[:, None], tau)",
    ),
    "padding among the tokens": Mistake(
        "padding",
        OFFLINE,
        "        return (1",
        "        asked = {'output_hidden_states': True}\n"
        "        states = [n.outputs(batch, **asked).hidden_states[-1] for n in (self.student, self.teacher)]\n"
        "        s = s * (1 + (states[0] - states[1])[..., 0].mean(1).square()[:, None])\n        return (1",
    ),
    "sum over the batch": Mistake("batch mean", OFFLINE, "tau**2 * kl(t, s, tau)", "tau**2 * len(s) * kl(t, s, tau)"),
    "probabilities in a logarithm": Mistake(
        "extreme logits",
        OFFLINE,
        "kl(t, s, tau)",
        "(t.softmax(1) * (t.softmax(1).log() - s.softmax(1).log())).sum(1).mean()",
    ),
    "student's body detached": Mistake(
        "gradient",
        OFFLINE,
        "self.student.logits(batch), self",
        "self.student.module.classifier(self.student.outputs(batch, output_hidden_states=True)"
        ".hidden_states[-1][:, 0].detach()), self",
    ),
    "state not saved": Mistake(
        "resume",
        ONLINE,
        '        return {"average": self.average}\n\n    def load',
        "        return {}\n\n    def load_nothing(self, state):\n        pass\n\n    def unused",
    ),
    "teacher never steps": Mistake("trained", ONLINE, "self.teacher.step(teacher", "abs(teacher"),
    "a projection without an optimiser": Mistake(
        "trained",
        OFFLINE,
        "    def loss(self, batch):\n        w, tau = self.options.weight, self.options.temperature\n"
        "        s, t = self.student.logits(batch), ",
        "    def build(self, context):\n"
        "        super().build(context)\n"
        "        self.projections = [__import__('torch').nn.Linear(context.num_labels, context.num_labels)]\n\n"
        "    def loss(self, batch):\n        w, tau = self.options.weight, self.options.temperature\n"
        "        s, t = self.projections[0](self.student.logits(batch)), ",
    ),
    "left in eval mode": Mistake("modes", ONLINE, "        fed =", "        self.student.module.eval()\n        fed ="),
    "feedback not declared": Mistake("start", ONLINE, 'Online.requires | {"feedback"}', "Online.requires"),
    "feedback declared and not used": Mistake("feedback", ONLINE, "fed = self.context.feedback()", "fed = batch"),
    "two classes taken for granted": Mistake(
        "three classes", OFFLINE, "        return (1", "        assert s.shape[1] == 2\n        return (1"
    ),
    "a cross-entropy with numbers": Mistake(
        "regression", OFFLINE, '    title = "Good"', '    title = "Good"\n    no_regression = ""'
    ),
    "a spread over the batch": Mistake("batch of one", OFFLINE, "kl(t, s, tau)", "kl(t, s / s.std(0), tau)"),
    "each row's logit with every row's": Mistake(
        "rows apart", OFFLINE, "kl(t, s, tau)", "(s[:, 1:] - t[:, 1]).square().mean()"
    ),
    "each row's logit with every row's, by a loss of torch": Mistake(
        "rows apart", OFFLINE, "kl(t, s, tau)", "__import__('torch').nn.functional.mse_loss(s[:, 1:], t[:, 1])"
    ),
    "the teacher's term detached": Mistake("teacher used", OFFLINE, "kl(t, s, tau)", "kl(t, s, tau).detach()"),
    "the teacher's term a plain number": Mistake("teacher used", OFFLINE, "kl(t, s, tau)", "kl(t, s, tau).item()"),
    "a second teacher that is never asked": Mistake(
        "teacher used",
        OFFLINE,
        "    def loss(self, batch):\n",
        "    @classmethod\n"
        "    def needs(cls, spec):\n"
        "        teacher = super().needs(spec)['teacher']\n"
        "        return {'teacher': teacher, 'second': teacher.derive(seed=spec.seed + 100)}\n\n"
        "    def build(self, context):\n"
        "        super().build(context)\n"
        "        self.second = context.frozen_teacher('second')\n\n"
        "    def loss(self, batch):\n",
    ),
    "a further term detached": Mistake(
        "terms",
        OFFLINE,
        "return (1 - w) * cross_entropy(batch.labels, s) + w * tau**2 * kl(t, s, tau)",
        "return cross_entropy(batch.labels, s) + kl(t, s) + w * s.square().mean().detach()",
    ),
    "an unseeded generator": Mistake(
        "same seed",
        OFFLINE,
        "w * tau**2",
        "(1 + torch.rand((), generator=UNSEEDED)) * w * tau**2",
    ),
    "a look at what is reported": Mistake(
        "splits",
        OFFLINE,
        "        return (1",
        "        from kdbench.planning import inputs\n"
        "        rows = inputs.load_data(self.spec.task, self.spec.data).splits['validation'].labels\n"
        "        s = s * (1 + sum(rows[::3]) / len(rows))\n        return (1",
    ),
    "no loss among the logs": Mistake("loss", ONLINE, '{"loss": loss, "average"', '{"average"'),
    "an option that nobody explains": Mistake("options", OFFLINE, '"softens both sides"', '""'),
}
UNSEEDED = "import torch\n\nUNSEEDED = torch.Generator()\nUNSEEDED.seed()\n"


def write(name: str) -> str:
    """The file's text."""
    source = MISTAKES[name].source
    return (
        source.replace("\nclass GoodOptions", f"\n{UNSEEDED}\n\nclass GoodOptions") if "UNSEEDED" in source else source
    )
