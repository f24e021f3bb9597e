"""The documentation says everything there is, nothing that is not there, and its examples work."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

import dagtasks
from dagtasks import errors, settings
from dagtasks.cli import root
from dagtasks.cli.progress import EXIT_CODES
from dagtasks.language.functions import ALL_FUNCTIONS
from dagtasks.model import event, parameter, project, task, template, values, webhook
from dagtasks.planning import lint, query
from tests.conftest import MakeProject, Result, git, write_files
from tests.docs_console import Console, read_examples, read_files, steady

REPOSITORY = Path(__file__).parents[1]
SITE = REPOSITORY / "site_src"
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("*.md"))
WORD = re.compile(r"`([^`\n]+)`")
ROW = re.compile(r"^\| (.+?) \|", re.MULTILINE)
CODE_SPAN_OR_BLOCK = re.compile(r"^```.*?^```$|`([^`\n]+)`", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (SITE / page).read_text("utf-8")


def sections(page: str) -> dict[str, str]:
    """The page's text below each of its headings, up to the next heading of any level."""
    parts = re.split(r"^#{1,4} (.+)$", read(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words_in_rows(text: str) -> set[str]:
    """What stands in backticks in the first column of the tables of the text."""
    return {word for row in ROW.findall(text) for word in WORD.findall(row)}


# -- commands -------------------------------------------------------------------------------------------------------


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(inner, f"{path} {name}")


COMMANDS = dict(commands(root, "dagtasks"))


def usage(path: str, command: click.Command) -> str:
    context = click.Context(command)
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    return f"`{' '.join([path, *arguments])}`"


def option_names(command: click.Command) -> set[str]:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {name for option in options for name in [*option.opts, *option.secondary_opts]}


def documented_options(text: str) -> set[str]:
    return {word.split()[0] for word in words_in_rows(text) if word.startswith("-")}


def test_every_command_has_its_section_and_no_other_has() -> None:
    headings = {heading for heading in sections("reference/cli.md") if heading.startswith("`dagtasks")}
    assert headings == {usage(path, command) for path, command in COMMANDS.items()}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_in_the_table_of_its_command(path: str) -> None:
    command = COMMANDS[path]
    assert documented_options(sections("reference/cli.md")[usage(path, command)]) == option_names(command)


def test_the_options_of_the_program_are_in_the_first_table() -> None:
    text = sections("reference/cli.md")["Command line"]
    assert documented_options(text) == option_names(root) | {"-h", "--help"}


def test_options_of_commands_that_write_are_the_same_everywhere() -> None:
    own = documented_options(sections("reference/cli.md")["Commands that write"])
    assert own == {"--commit", "--no-commit", "--dry-run", "--json"}
    writing = {path for path, command in COMMANDS.items() if "--commit" in option_names(command)}
    assert all(own <= option_names(COMMANDS[path]) for path in writing)


def test_every_word_of_queries_and_every_state_is_documented() -> None:
    text = sections("reference/cli.md")
    rows = words_in_rows(text["Queries"])
    keys = {re.split(r"[:<]", word)[0] for word in rows if ":" in word}
    assert keys == {*query.KEYS, "is"} - {"metadata.<key>"} | {"metadata.team"}
    assert {word.removeprefix("is:") for word in rows if word.startswith("is:")} == set(query.STATES)
    states = set(WORD.findall(text["States of runs and steps"]))
    assert states == {*values.RunState, *values.StepState}


def shown_commands() -> Iterator[tuple[str, str]]:
    """Every command that a page or a file at the root shows, in a block or between backticks, up to a `|`, `)` or `;`."""
    for page in [*PAGES, "../README.md", "../CONTRIBUTING.md", "../SECURITY.md"]:
        for match in CODE_SPAN_OR_BLOCK.finditer(read(page)):
            text = match[1] or match[0].replace("\\\n", " ")
            for found in re.finditer(r"(?:^|\$ |&& |\$\(|do |bin/)dagtasks ([a-z-][^|);&\n]*)", text, re.MULTILINE):
                yield page, found[1]


def find_fault(line: str) -> str:
    """Why the command line could not be meant; empty when there is such a command with such options."""
    words, command = line.replace("#", " # ").split(), root
    while words and words[0].startswith("-"):
        words = words[2 if words[0] == "-C" else 1 :]
    while words and isinstance(command, click.Group) and not words[0].isupper():
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
    unknown = {word for word in words if re.fullmatch(r"--[a-z-]+", word)} - option_names(command) - {"--help"}
    return f"no option {', '.join(sorted(unknown))}" if unknown else ""


def test_commands_on_pages_are_there_or_said_to_be_planned() -> None:
    planned = WORD.findall(sections("reference/cli.md")["Not yet there"])
    shown = [(page, line) for page, line in shown_commands() if not any(line.startswith(name) for name in planned)]
    assert len(shown) > 100
    assert [f"{page}: {line}: {fault}" for page, line in shown if (fault := find_fault(line))] == []


def test_planned_commands_are_not_there() -> None:
    planned = WORD.findall(sections("reference/cli.md")["Not yet there"])
    assert [name for name in planned if not find_fault(name)] == []


# -- settings, codes, exit codes -------------------------------------------------------------------------------------


def test_every_setting_has_its_row() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in sections("reference/settings.md")["All settings"].splitlines()
        if line.startswith("| `")
    ]
    shown = {row[0].strip("`"): [cell.strip("`") for cell in row[1:4]] for row in rows}
    assert shown == {setting.name: _cells(setting) for setting in settings.SETTINGS}


def _cells(setting: settings.Setting) -> list[str]:
    default = "" if setting.default in (None, ()) else str(setting.default)
    only = "yes" if setting.operator_only is True else str(setting.operator_only or "")
    return [setting.env or "", default.lower() if isinstance(setting.default, bool) else default, only]


def test_the_layers_of_settings_are_the_real_ones() -> None:
    text = sections("reference/settings.md")["Where they come from"]
    from dagtasks.store.layout import DEFAULT_SETTINGS, ENGINE_SETTINGS, ENV_FILE

    places = [
        text.index(name) for name in (ENV_FILE, "~/.config/dagtasks/config.yaml", ENGINE_SETTINGS, DEFAULT_SETTINGS)
    ]
    assert places == sorted(places)


def all_codes() -> dict[str, str]:
    """Every code with what its module says of it; a code that two modules have is a fault."""
    found: dict[str, str] = {}
    for module in pkgutil.walk_packages(dagtasks.__path__, "dagtasks."):
        if module.name == "dagtasks.__main__":
            continue
        codes: Mapping[str, str] = getattr(import_module(module.name), "CODES", {})
        assert not found.keys() & codes.keys(), module.name
        found |= codes
    return found


def test_every_code_stands_in_the_reference_with_its_text() -> None:
    shown = {name: text for name, text in sections("reference/codes.md").items() if re.fullmatch(r"DT\d{3}", name)}
    assert {code: " ".join(text.split()) for code, text in shown.items()} == {
        code: " ".join(text.split()) for code, text in sorted(all_codes().items())
    }


def test_codes_that_the_package_uses_are_explained() -> None:
    used = {match for file in _sources() for match in re.findall(r'"(DT\d{3})"', file.read_text("utf-8"))}
    assert used == set(all_codes())


def _sources() -> list[Path]:
    return sorted(Path(dagtasks.__path__[0]).rglob("*.py"))


def step_errors() -> set[str]:
    """The codes with which `Failure`, `StepError` and `OutboundError` are made."""
    makers = {"Failure", "StepError", "OutboundError"}
    calls = (node for file in _sources() for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    found = set()
    for node in calls:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def test_every_error_of_a_step_has_its_row() -> None:
    rows = words_in_rows(sections("reference/codes.md")["Errors of steps"])
    assert step_errors() <= rows
    source = "".join(file.read_text("utf-8") for file in _sources())
    assert [code for code in rows if f'"{code}"' not in source] == []


def test_every_exit_code_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+) \|(?: `(\w+)`)? \|", read("reference/exit-codes.md"), re.MULTILINE)
    kinds = [errors.DagtasksError, *errors.DagtasksError.__subclasses__()]
    assert {(int(code), name) for code, name in rows} == {(0, "")} | {(kind.exit_code, kind.__name__) for kind in kinds}
    assert set(EXIT_CODES.values()) <= {int(code) for code, _ in rows}


# -- files ----------------------------------------------------------------------------------------------------------

TASK_FILE, TEMPLATE_FILE = "reference/task-file.md", "reference/template-file.md"
MODELS: list[tuple[str, str, type[BaseModel]]] = [
    (TASK_FILE, "A task", task.Task),
    (TASK_FILE, "`workflows`", task.Binding),
    (TASK_FILE, "A phase", project.Phase),
    (TASK_FILE, "A project", project.Project),
    ("guides/webhooks.md", "Make one", webhook.Webhook),
    (TEMPLATE_FILE, "Top level", template.Template),
    (TEMPLATE_FILE, "`metadata`", template.Metadata),
    (TEMPLATE_FILE, "`parameters`", parameter.ParameterSpec),
    (TEMPLATE_FILE, "`steps`", template.Step),
    (TEMPLATE_FILE, "`retry`", template.Retry),
    (TEMPLATE_FILE, "`concurrency`", template.Concurrency),
    (TEMPLATE_FILE, "`artifacts`", template.Artifact),
    (TEMPLATE_FILE, "`container`", template.Container),
    (TEMPLATE_FILE, "`mounts`", template.Mount),
    (TEMPLATE_FILE, "`export`", template.Export),
    (TEMPLATE_FILE, "`services`", template.Service),
    (TEMPLATE_FILE, "`ready`", template.Ready),
    (TEMPLATE_FILE, "`approval`", template.Approval),
    (TEMPLATE_FILE, "`auth`", template.Auth),
    (TEMPLATE_FILE, "`script`", template.Script),
    (TEMPLATE_FILE, "`api`", template.Api),
    (TEMPLATE_FILE, "`workflow`", template.Call),
    (TEMPLATE_FILE, "`outputs` of a step", template.StepOutput),
    (TEMPLATE_FILE, "`outputs`", template.Output),
]


@pytest.mark.parametrize(("page", "heading", "model"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_key_of_a_file_has_its_row(page: str, heading: str, model: type[BaseModel]) -> None:
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert words_in_rows(sections(page)[heading]) == keys


def test_no_model_of_a_file_is_forgotten() -> None:
    parts = [value for value in vars(template).values() if isinstance(value, type) and issubclass(value, BaseModel)]
    in_one_row = {template.Defaults, template.Updates, template.BasicAuth, template.HeaderAuth}
    shown = {model for _, _, model in MODELS} | in_one_row
    assert {part for part in parts if part not in (BaseModel, template.Part)} <= shown


def test_words_of_other_engines_are_listed() -> None:
    translated = sections(TEMPLATE_FILE)["Words of other engines"]
    assert set(WORD.findall(translated)) == {*template.TRANSLATIONS, *template.TRANSLATIONS.values()}


def test_every_remark_has_its_row() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(DT\d+)` \(", sections(TEMPLATE_FILE)["Remarks"], re.MULTILINE)
    assert dict(rows) == lint.CODES_OF_LINTS


def test_every_function_and_enumeration_is_listed() -> None:
    text = sections(TEMPLATE_FILE)["Expressions"]
    table = text[text.index("| functions |") :]
    assert {word.partition("(")[0] for word in WORD.findall(table)} - {"if", "command"} == set(ALL_FUNCTIONS)
    for words, page in (
        (values.Status, TASK_FILE),
        (values.Priority, TASK_FILE),
        (values.WorkflowType, TEMPLATE_FILE),
        (parameter.ParameterType, TEMPLATE_FILE),
        (event.EventType, "reference/events.md"),
        (event.TOLD_TYPES, "reference/events.md"),
    ):
        assert {str(word) for word in words} <= set(WORD.findall(read(page)))


# -- examples -------------------------------------------------------------------------------------------------------

WITH_FILES = [page for page in PAGES if read_files(read(page))]
WITH_EXAMPLES = [page for page in PAGES if any(read_examples(read(page)))]
DEMO = Path(dagtasks.__path__[0]) / "service" / "starter" / "demo"


@pytest.mark.parametrize("page", WITH_FILES)
def test_files_that_a_page_shows_are_valid(page: str, project: MakeProject, cli: Callable[..., Result]) -> None:
    shown = read_files(read(page))
    basic = (REPOSITORY / "templates/basic_task.yaml").read_text("utf-8")
    around = {
        "templates/basic_task.yaml": basic,
        "tasks/web/project.yaml": "name: Web\n",
        "tasks/web/phases/build.yaml": "name: Build\n",
        "tasks/web/web-3f8k2p.yaml": "name: Another\n",
    }
    done = cli(project({**around, **shown}).root, "validate", "--json")
    assert [problem for problem in done.json if problem["severity"] != "note"] == []


def test_files_with_a_path_are_found() -> None:
    assert {"guides/templates.md", TASK_FILE, "reference/settings.md"} <= set(WITH_FILES)
    assert {"tutorial.md", "guides/tasks.md", "guides/templates.md"} <= set(WITH_EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples_print_what_the_page_says(page: str, tmp_path: Path) -> None:
    """Lines are compared without their order: stdout and stderr of a step may come either way round."""
    console = Console(_folder_for(page, tmp_path), {**os.environ, "LANG": "C.UTF-8"}, tmp_path)
    for example in read_examples(read(page)):
        came = console.carry_out(example)
        expected, real = (sorted(steady(text).splitlines()) for text in (example.printed, came))
        assert real == expected, f"{page}:{example.line}: {example.command}\n{came}"


def _folder_for(page: str, tmp_path: Path) -> Path:
    """The tutorial begins with nothing, every other page with the demo's files and those that it shows."""
    if page == "tutorial.md":
        return tmp_path
    folder = tmp_path / "demo"
    assert Console(tmp_path, os.environ, tmp_path).succeeds(f"dagtasks init {folder}")
    shutil.copytree(DEMO, folder, dirs_exist_ok=True)
    write_files(folder, read_files(read(page)))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


# -- pages ----------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    nav = text[text.index("nav:") : text.index("theme:")]
    named = re.findall(r": (\S+\.(?:md|html))$", nav, re.MULTILINE)
    assert sorted(name for name in named if name.endswith(".md")) == PAGES
    assert not [name for name in named if name.startswith("t/")]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_links_of_files_at_the_root_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)", (REPOSITORY / name).read_text("utf-8"))
    here = [target for target in targets if not target.startswith("https://")]
    assert [target for target in here if not (REPOSITORY / target).exists()] == []


def test_the_readme_names_what_there_is() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    tree = text[text.index("```text") :]
    folders = re.findall(r"^(\w+)/", tree, re.MULTILINE)
    assert [folder for folder in folders if not (REPOSITORY / folder).is_dir()] == []
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {*re.findall(r"\bmake (\w+) ", text)} <= set(targets)


def test_every_file_below_site_src_is_written_by_hand() -> None:
    kinds: dict[str, Any] = {".md": None, ".png": None, ".svg": None}
    others = [file for file in SITE.rglob("*") if file.is_file() and file.suffix not in kinds]
    assert others == []
