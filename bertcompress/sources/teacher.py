"""Where the teacher lies: the Hub, a folder, or an installed package. Asked first, so it loads no torch."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError

from bertcompress.errors import TeacherError
from bertcompress.files import hash_file
from bertcompress.sources.hub import hub_answers
from bertcompress.sources.installed_package import PACKAGE_PREFIX, package_folders

SAFE_WEIGHTS = "*.safetensors"
# What is read of a teacher's folder: its weights, and what its inputs and sizes hang on.
WEIGHT_FILES = ("model*.safetensors", "model.safetensors.index.json")
INPUT_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
    "spm.model",
)  # fmt: skip
PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


def resolve_teacher(source: str) -> str:
    """Where transformers finds the teacher: a folder for `package:NAME` and paths, else the Hub id itself.

    Without a network a Hub id is the folder of its downloaded copy.

    Raises:
        TeacherError: the package is not installed or holds no model, the folder has no config.json or no
            safetensors, or the Hub has no such model or cannot be reached for one that was never downloaded.
    """
    if source.startswith(PACKAGE_PREFIX):
        return str(_package_folder(source.removeprefix(PACKAGE_PREFIX)))
    folder = Path(source).expanduser()
    if is_local(source) and not (folder / "config.json").is_file():
        raise TeacherError(
            f"teacher.source: {source}: no config.json there; give a folder that save_pretrained wrote"
        )
    if not is_local(source):
        return _hub_location(source)
    _refuse_pickles(folder)
    return str(folder)


def is_local(source: str) -> bool:
    """Whether a teacher lies on this machine by its name: a package, a path, or what is there."""
    return source.startswith((PACKAGE_PREFIX, ".", "/", "~")) or Path(source).expanduser().exists()


def hash_teacher(location: str) -> dict[str, dict[str, str]]:
    """Hashes of the teacher's files by name: under "inputs" what cuts texts and tells sizes, and "weights".

    What is read of a model on the Hub is downloaded for it.
    """
    patterns = {"inputs": INPUT_FILES, "weights": WEIGHT_FILES}
    folder = Path(location)
    if not folder.is_dir():
        folder = Path(snapshot_download(location, allow_patterns=[*INPUT_FILES, *WEIGHT_FILES]))
    return {
        part: {path.name: hash_file(path) for pattern in names for path in sorted(folder.glob(pattern))}
        for part, names in patterns.items()
    }


def _hub_location(name: str) -> str:
    advice = "check the spelling, or give a folder that save_pretrained wrote"
    try:
        if hub_answers("model", name):
            return name
        return snapshot_download(name, local_files_only=True)
    except RepositoryNotFoundError:
        raise TeacherError(f"teacher.source: the Hub has no model {name}; {advice}") from None
    except (OSError, ValueError):
        raise TeacherError(
            f"teacher.source: {name}: no such folder here, the Hub cannot be reached, and no copy of it was "
            f"downloaded before; {advice}"
        ) from None


def _package_folder(distribution: str) -> Path:
    try:
        roots = package_folders(distribution)
    except ModuleNotFoundError:
        raise TeacherError(
            f"teacher.source: package {distribution} is not installed; pip install {distribution}, "
            "or give a Hub id or a folder"
        ) from None
    if not roots:
        raise TeacherError(
            f"teacher.source: {distribution} is a single module and cannot hold a model; "
            "give a package with a folder, a Hub id or a folder"
        )
    configured = sorted(path.parent for root in roots for path in root.rglob("config.json"))
    found = [folder for folder in configured if any(folder.glob(SAFE_WEIGHTS))]
    if found:
        return found[0]
    for folder in configured:
        _refuse_pickles(folder)
    raise TeacherError(f"teacher.source: package {distribution} holds no config.json beside model weights")


def _refuse_pickles(folder: Path) -> None:
    """Weights are read from safetensors alone: a .bin is unpickled, and that can run anything.

    Raises:
        TeacherError: the folder has weights, but no safetensors.
    """
    pickles = sorted(path.name for pattern in PICKLED_WEIGHTS for path in folder.glob(pattern))
    if pickles and not any(folder.glob(SAFE_WEIGHTS)):
        raise TeacherError(
            f"teacher.source: {folder}: its weights are in {pickles[0]}, which is unpickled and could run "
            "any code; only safetensors are read. If you trust the file, load it with transformers' "
            "from_pretrained and write it anew with save_pretrained"
        )
