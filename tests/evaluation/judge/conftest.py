"""A chat endpoint on this machine, tiny chat models, and questions."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from marco.data.udhr import Udhr
from marco.evaluation.judge.questions import Question
from marco.tokenizers.embedded import EmbeddedTokenizer

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

#: (status, body, headers) of one request.
Reply = tuple[int, Any, dict[str, str]]


@dataclass
class Server:
    """What a test says to every request, and what was asked."""

    reply: Callable[[dict[str, Any]], Reply | str]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start a server that speaks /v1/chat/completions; a text stands for a completion of it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("marco.evaluation.judge.endpoint.FIRST_WAIT", 0.01)
    started: list[ThreadingHTTPServer] = []

    def start(reply: Callable[[dict[str, Any]], Reply | str]) -> Server:
        server = Server(reply)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                server.headers.append(dict(self.headers))
                if self.path != "/v1/chat/completions":
                    said: Reply | str = (404, {"error": {"message": f"no {self.path}"}}, {})
                else:
                    said = server.reply(body)
                status, answer, headers = (
                    (200, completion(said), {}) if isinstance(said, str) else said
                )
                content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # it had no patience
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        started.append(httpd)
        server.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
        return server

    yield start
    for httpd in started:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture(scope="session")
def chat_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Three tiny chat models of different random weights, and of one vocabulary."""
    folders = []
    tokenizer = EmbeddedTokenizer(vocab_size=600).load(Udhr(languages=["eng", "swh"]).load())
    for seed in range(3):
        folder = tmp_path_factory.mktemp("models") / f"chat-{seed}"
        tokenizer.save(folder)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = Qwen2Config(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=2048,
                initializer_range=0.3,
                eos_token_id=tokenizer.end_of_text,
            )
            AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        folders.append(folder)
    return folders[0], folders[1], folders[2]


@pytest.fixture
def questions() -> list[Question]:
    """Six of two turns in each of two languages."""
    return [
        Question(str(number), language, category, (f"{language} {number}?", "Na kisha?"))
        for language in ("eng", "swh")
        for number, category in enumerate(("writing", "math", "stem", "coding", "other", "math"))
    ]


@pytest.fixture
def questions_file(tmp_path: Path, questions: list[Question]) -> Path:
    path = tmp_path / "questions.jsonl"
    lines = [
        {"question_id": int(q.id), "category": q.category, "language": q.language, "turns": q.turns}
        for q in questions
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
