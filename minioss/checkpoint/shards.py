"""A folder of safetensors files, seen as one set of tensors by name."""

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from minioss.bfloat16 import BFloat16Array
from minioss.checkpoint.safetensors import Entry, SafetensorsFile
from minioss.errors import InputError

INDEX = "model.safetensors.index.json"


class Shards:
    """The tensors of a folder. With an index each name is looked up there; without, in all files.

    Raises
    ------
    InputError
        Where a file is missing or broken, or two files hold a tensor of one name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, SafetensorsFile] = {}
        index = folder / INDEX
        self._file_of = _read_index(index) if index.exists() else self._scan()

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    @property
    def names(self) -> list[str]:
        """The names of all tensors."""
        return list(self._file_of)

    @property
    def files(self) -> list[str]:
        """The names of all files."""
        return sorted(set(self._file_of.values()))

    @property
    def paths(self) -> list[Path]:
        """Where all files are."""
        return [self.folder / name for name in self.files]

    def entry(self, name: str) -> Entry:
        """Type, shape and place of a tensor."""
        return self._holder(name).entries[name]

    def tensor(self, name: str) -> NDArray | BFloat16Array:
        """A view of a tensor, mapped from disk."""
        return self._holder(name).tensor(name)

    def _holder(self, name: str) -> SafetensorsFile:
        if name not in self._file_of:
            raise InputError(f"{name} is in none of the files of {self.folder}: {', '.join(self.files)}")
        file = self._open(self._file_of[name])
        if name not in file.entries:
            raise InputError(f"{name} is not in {file.path}, where {INDEX} says that it is")
        return file

    def _open(self, filename: str) -> SafetensorsFile:
        if filename not in self._files:
            path = self.folder / filename
            if not path.is_file():
                raise InputError(f"{path} is missing; {INDEX} names it")
            self._files[filename] = SafetensorsFile(path)
        return self._files[filename]

    def _scan(self) -> dict[str, str]:
        paths = sorted(self.folder.glob("*.safetensors"))
        if not paths:
            raise InputError(f"{self.folder} has no *.safetensors file")
        file_of: dict[str, str] = {}
        for path in paths:
            for name in self._open(path.name).entries:
                if name in file_of:
                    raise InputError(f"{name} is both in {file_of[name]} and in {path.name} of {self.folder}")
                file_of[name] = path.name
        return file_of


def _read_index(path: Path) -> dict[str, str]:
    content = read_json(path)
    file_of = content.get("weight_map")
    if not isinstance(file_of, dict) or not file_of:
        raise InputError(f"{path} has no weight_map; expected names of tensors with the files that hold them")
    for name, filename in file_of.items():
        if not isinstance(filename, str) or Path(filename).name != filename:
            raise InputError(f"{path} places {name} in {filename!r}; expected the name of a file beside it")
    return file_of


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an `InputError` that says what the file is instead."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}; expected an object")
    return content
