"""New projects and problems, from templates: each appears whole or not at all, and nothing is overwritten."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jinja2

from hpcsearch.errors import UsageError
from hpcsearch.project.names import check_package_name
from hpcsearch.project.project import Project, find_project

_TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".j2"


def start_project(path: Path) -> Project:
    """Makes a project in the new folder ``path``, whose package has the folder's name.

    Raises:
        UsageError: the folder is there already or cannot be made, or its name cannot be a package's.
    """
    root = path.absolute()
    name = root.name
    _refuse_existing(root)
    check_package_name(name, "project")
    with _new_folder(root) as draft:
        _write("project", draft, {"package": name})
        (draft / name).mkdir()
        _write("package", draft / name, {"package": name})
    return Project(root, name)


def new_problem(name: str) -> tuple[Project, list[Path]]:
    """Makes the problem ``name``, a sample to start from, in the project that the current folder lies in.

    Returns:
        the project and the new files.

    Raises:
        UsageError: there is no project, it has such a problem already, or the name cannot be a package's.
    """
    cwd = Path.cwd()
    project = find_project(cwd)
    if project is None:
        raise UsageError(
            f"There is no project here: no pyproject.toml with [tool.hpcsearch] in {cwd} or above.",
            "Type 'hpcsearch start-project my_project && cd my_project', and this again.",
        )
    folder = project.folder / name
    _refuse_existing(folder)
    check_package_name(name, "problem")
    with _new_folder(folder) as draft:
        files = _write("hps", draft, {"name": name, "within": f"{project.package}.{name}."})
    return project, [folder / file for file in files]


def _write(kind: str, folder: Path, values: Mapping[str, str]) -> list[str]:
    """Fills ``folder`` with what the templates of a kind give; returns the files' names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES / kind),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    names = []
    for template in sorted(environment.list_templates()):
        name = template.removesuffix(_SUFFIX)
        (folder / name).write_text(environment.get_template(template).render(values), encoding="utf-8")
        names.append(name)
    return names


def _refuse_existing(folder: Path) -> None:
    if os.path.lexists(folder):  # unlike pathlib, it has an answer for a name that is too long
        raise UsageError(f"{folder} exists already, and nothing is overwritten.", "Choose another name.")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder`` to be filled, which then gets its name by one rename."""
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir()
        yield draft
        _refuse_existing(folder)
        draft.rename(folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made: {error.strerror}.",
            "Give a name in a folder that is there and that you can write to.",
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
