"""`marco judge` with tiny models, and one as the judge behind a real server."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from marco.commands import main
from marco.config import Sources, bind_root, compose
from marco.config.judge import JudgeSettings
from marco.evaluation.judge.answer_files import read_answers
from marco.evaluation.judge.endpoint import Judge
from marco.evaluation.judge.prompts import ask, verdict
from marco.evaluation.judge.questions import Question
from marco.evaluation.results.items import read_items
from marco.evaluation.results.table import read_aggregates, read_results

KEY = "sk-very-secret-1234"
SMALL = ["logger=none", "kernels=reference", "answering.max_new_tokens=8"]

Run = Callable[..., Path]


class ModelJudge:
    """A model of transformers that takes the answer it finds likelier, or says what it likes."""

    def __init__(self, folder: Path) -> None:
        self.network = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def choose(self, messages: list[dict[str, str]]) -> str:
        blocks = messages[-1]["content"].split("[Beginning of")[-2:]
        texts = [block.partition("]")[2].partition("[End of")[0] for block in blocks]
        if len(texts) < 2:
            return "[[C]]"
        first, second = map(self.likelihood, texts)
        return "[[A]]" if first > second else "[[B]]" if second > first else "[[C]]"

    def likelihood(self, text: str) -> float:
        tokens = self.tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            return -float(self.network(tokens, labels=tokens).loss)

    def write(self, messages: list[dict[str, str]], count: int) -> str:
        prompt = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.no_grad():
            made = self.network.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count,
                do_sample=False, pad_token_id=0,
            )  # fmt: skip
        return str(self.tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path, chat_models: tuple[Path, Path, Path], questions_file: Path) -> Run:
    """Run the command on two of the models; returns the newest folder of results."""

    def start(server: Any, *overrides: str, code: int = 0) -> Path:
        given = [
            f"model.path={chat_models[0]}", f"baseline.path={chat_models[1]}",
            f"questions={questions_file}", f"judge.url={server.url}", "judge.model=tiny",
        ]  # fmt: skip
        assert main(["judge", *given, *SMALL, *overrides]) == code
        return max(here.glob("evaluations/**/mt_bench/*"))

    return start


def test_a_model_judges_behind_a_server(
    serve: Callable[..., Any], run: Run, questions: list[Question],
    chat_models: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("JUDGE_KEY", KEY)
    tiny = ModelJudge(chat_models[2])
    server = serve(lambda body: tiny.choose(body["messages"]))
    few = ["judge.key_variable=JUDGE_KEY", "items_per_language=3"]
    questions = questions[:3] + questions[6:9]
    folder = run(server, *few)
    assert folder.parts[-3:-1] == ("chat-0", "mt_bench")
    assert len(server.asked) == 1 + 24
    assert server.asked[-1]["max_tokens"] == 2048
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"

    sides = [
        read_answers(folder / "answers" / f"{s}.jsonl", questions) for s in ("model", "baseline")
    ]
    assert [name for name, _ in sides] == ["chat-0", "chat-1"]
    (_, model), (_, baseline) = sides
    wanted: dict[tuple[str, int], Counter[str]] = {}
    for index, question in enumerate(questions):
        for turn in (0, 1):
            mine, other = model[index], baseline[index]
            first = verdict(tiny.choose(ask(question, turn, mine, other)))
            second = verdict(tiny.choose(ask(question, turn, other, mine)))
            outcome = {("A", "B"): "win", ("B", "A"): "loss"}.get((first, second), "tie")
            wanted.setdefault((question.language, turn), Counter())[outcome] += 1
    assert {outcome for counts in wanted.values() for outcome in counts} >= {"win", "loss"}
    results = read_results(folder)
    for (language, turn), counts in wanted.items():
        for metric in ("win", "tie", "loss"):
            (row,) = [
                r for r in results
                if (r["task"], r["language"], r["metric"], r["subtask"])
                == ("mt_bench", language, metric, f"turn {turn + 1}")
            ]  # fmt: skip
            assert (row["value"], row["n"]) == (pytest.approx(counts[metric] / 3), 3)
    assert {r["run"] for r in results} == {"chat-0"}
    assert {r["subtask"] for r in results if r["metric"] == "repetition"} == {None, "baseline"}
    items = read_items(folder)
    assert [item.prediction for item in items] == ["\n\n".join(t) for t in [*model, *baseline]]
    mean = sum(item.metrics["win_rate"] for item in items[:6]) / 6
    (macro,) = [
        a for a in read_aggregates(folder) if (a["over"], a["metric"]) == ("languages", "win_rate")
    ]
    assert macro["value"] == pytest.approx(mean)
    shown = capsys.readouterr().out
    assert "chat-0 against chat-1" in shown
    assert "Macro average" in shown
    assert shown.count("texts of") == 1  # one table of what the answers are like
    for path in folder.parent.parent.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in shown

    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["judge"]["key_variable"] == "JUDGE_KEY"
    again = run(server, *few)
    assert again != folder
    assert len(server.asked) == 1 + 24 + 1
    assert read_items(again) == items
    shown = capsys.readouterr().out
    assert "12 answers of chat-0 were known" in shown
    assert "24 judgements were known" in shown


def test_what_is_no_verdict_is_shown(
    serve: Callable[..., Any], run: Run, chat_models: tuple[Path, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tiny = ModelJudge(chat_models[2])
    server = serve(lambda body: tiny.write(body["messages"], 4) or "…")
    folder = run(server, "languages=[swh]", "items_per_language=2", code=1)
    rows = {r["metric"]: r for r in read_results(folder) if r["subtask"] is None}
    assert rows["win"]["value"] is None
    assert rows["win"]["reason"].startswith("no comparison has both verdicts: no [[A]]")
    assert rows["unjudged"]["value"] == 1
    assert "8 of 8 judgements failed:\n  8 × no [[A]]" in capsys.readouterr().out
    said = [json.loads(line)["text"] for line in (folder / "judgements.jsonl").open()]
    assert len(said) == 8
    assert all(said)


def test_an_interrupted_command_goes_on(
    serve: Callable[..., Any], run: Run, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server = serve(lambda _: "[[A]]")
    whole = Judge.ask

    def until(judge: Judge, messages: Any) -> str:
        if len(server.asked) >= 20:
            raise KeyboardInterrupt
        return whole(judge, messages)

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "ask", until)
        run(server, "judge.concurrency=1", code=130)
    assert "The same command goes on" in capsys.readouterr().out
    folder = run(server, "judge.concurrency=1")
    assert len(server.asked) < 20 + 1 + 48
    rows = [r for r in read_results(folder) if r["metric"] in ("tie", "disagreement")]
    assert {r["value"] for r in rows} == {1.0}


def test_answers_made_elsewhere(
    serve: Callable[..., Any], run: Run, questions: list[Question], here: Path,
    chat_models: tuple[Path, ...],
) -> None:  # fmt: skip
    lines = [
        {"question_id": q.id, "language": q.language, "model_id": "org/other one",
         "choices": [{"turns": ["Ndiyo.", "Hapana."]}]}
        for q in questions
    ]  # fmt: skip
    (here / "other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def prefers_the_other(body: dict[str, Any]) -> str:
        first = body["messages"][-1]["content"].partition("assistant B")[0]
        return "[[A]]" if "Ndiyo." in first else "[[B]]"

    server = serve(prefers_the_other)
    folder = run(server, "model.path=null", "model.answers=other.jsonl", "languages=[eng]")
    assert folder.parent.parent.relative_to(here).as_posix() == "evaluations/org/other_one"
    rows = {r["metric"]: r["value"] for r in read_results(folder) if r["subtask"] is None}
    assert rows["win"] == 1
    both = f"baseline.path={chat_models[1]},{chat_models[2]}"
    run(server, "model.path=null", "model.answers=other.jsonl", "languages=[eng]", both)
    assert len(list(here.glob("evaluations/org/*/mt_bench/*/results.json"))) == 3


def test_a_base_model_is_known_before_anything_starts(
    serve: Callable[..., Any], run: Run, here: Path, chat_models: tuple[Path, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    base = here / "base"
    shutil.copytree(chat_models[1], base)
    server = serve(lambda _: "[[C]]")
    config = base / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    (base / "chat_template.jinja").rename(base / "elsewhere")
    with pytest.raises(ValueError, match="empty"):
        run(server, f"baseline.path={base}", code=2)
    assert f"baseline.path={base} is no chat model" in capsys.readouterr().err
    assert not server.asked
    template = (base / "elsewhere").read_text()
    config.write_text(json.dumps({**settings, "chat_template": template}))
    folder = run(server, f"baseline.path={base}", "languages=[eng]", "items_per_language=1")
    assert len(read_items(folder)) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["questions=nowhere.jsonl"], 'each line {"question_id": 81'),
        (["model.path=null"], "model should be either a model, model.path=…, or a file"),
        (["baseline.answers=a.jsonl"], "baseline should be either"),
        (["baseline.path=nowhere/at/all"], "baseline.path=nowhere/at/all"),
        (["baseline.path=null", "baseline.answers=a.jsonl"], "baseline.answers=a.jsonl cannot be"),
        (["languages=[yor]"], "no question in yor"),
        (["judge.modle=x"], "judge.model"),
        (["judge.timeout=soon"], "judge.timeout should be a number"),
        (["judge.key_variable=NO_SUCH_KEY"], "NO_SUCH_KEY: this environment variable is not set"),
        (["judge.url=http://127.0.0.1:9/v1", "judge.retries=0"], "does not judge"),
        (["items_per_language=0"], "items_per_language=0"),
        (["answering.seed=-1"], "answering.seed=-1"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    serve: Callable[..., Any], run: Run, here: Path, capsys: pytest.CaptureFixture[str],
    overrides: list[str], message: str,
) -> None:  # fmt: skip
    with pytest.raises(ValueError, match="empty"):  # there is no folder of results
        run(serve(lambda _: "[[C]]"), *overrides, code=2)
    assert message in capsys.readouterr().err


def test_the_config_is_bound() -> None:
    with_all = ["model.path=x", "baseline.answers=y", "questions=q", "judge.url=http://h/v1"]
    cfg = compose([*with_all, "judge.model=m"], sources=Sources(name="judge"))
    settings = bind_root(cfg, JudgeSettings)
    assert settings.answering.max_new_tokens == 1024
    assert settings.judge.parameters == {"temperature": 0, "max_tokens": 2048}
    assert settings.model.path == "x"
    assert settings.baseline.answers == Path("y")
