"""The jobs of forges that `init --ci` writes: their schemas, and their own commands in a clone as a forge makes one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagtasks.service.setup import CI_FILES, init
from dagtasks.store.project import Project
from tests.board.sample import sample_files, sample_runs
from tests.conftest import Result, git, write_files

Cli = Callable[..., Result]
JOBS = {kind: next(iter(paths)) for kind, paths in CI_FILES.items()}
SCHEMAS = {
    "github": ["vendor.github-workflows"],
    "gitlab": ["vendor.gitlab-ci"],
    "forgejo": ["vendor.github-workflows"],
}


def job_file(folder: Path, kind: str) -> dict[Any, Any]:
    loaded = yaml.load((folder / JOBS[kind]).read_text(), Loader=yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


# -- what is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CI_FILES)
def test_the_job_fits_the_schema_of_its_forge(kind: str, tmp_path: Path) -> None:
    init(tmp_path, kind)
    files = [str(tmp_path / name) for name in CI_FILES[kind]]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *SCHEMAS[kind], *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(Path(file).read_text() for file in files)
    assert "@BRANCH@" not in text
    assert "@VERSION@" not in text


@pytest.mark.parametrize("kind", CI_FILES)
def test_what_is_there_is_kept(kind: str, tmp_path: Path, cli: Cli) -> None:
    first = cli(tmp_path, "init", "--ci", kind)
    assert first.code == 0
    assert [f"{name}: written" in first.out.splitlines() for name in CI_FILES[kind]] == [True] * len(CI_FILES[kind])
    (tmp_path / JOBS[kind]).write_text("mine: true\n")
    again = cli(tmp_path, "init", "--ci", kind)
    assert f"{JOBS[kind]}: kept\n" in again.out
    assert (tmp_path / JOBS[kind]).read_text() == "mine: true\n"


def test_who_has_a_pipeline_is_told_what_to_add(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("include:\n  - local: other.yml\n")
    told = ".gitlab-ci.yml: kept; add to its `include`:  - local: .gitlab/dagtasks.yml\n"
    assert told in cli(tmp_path, "init", "--ci", "gitlab").out
    (tmp_path / ".gitlab-ci.yml").write_text("include:\n  - local: other.yml\n  - local: .gitlab/dagtasks.yml\n")
    assert ".gitlab-ci.yml: kept\n" in cli(tmp_path, "init", "--ci", "gitlab").out


def test_a_folder_in_the_place_of_a_file_is_kept_too(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / ".gitlab-ci.yml").mkdir()
    done = cli(tmp_path, "init", "--ci", "gitlab")
    assert (done.code, ".gitlab-ci.yml: kept; add" in done.out) == (0, True)


def test_without_the_option_there_is_no_job(tmp_path: Path) -> None:
    init(tmp_path)
    assert [name for name in (".github", ".gitlab", ".gitlab-ci.yml", ".forgejo") if (tmp_path / name).exists()] == []


def test_the_default_branch_is_published(tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch", "trunk")
    assert cli(tmp_path, "init", "--ci", "github").code == 0
    assert job_file(tmp_path, "github")["on"]["push"] == {"branches": ["trunk"]}
    assert job_file(tmp_path, "github")["jobs"]["publish"]["if"] == "github.ref == 'refs/heads/trunk'"
    git(tmp_path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/release/1.x")
    init(tmp_path, "forgejo")
    assert job_file(tmp_path, "forgejo")["on"]["push"] == {"branches": ["release/1.x"]}


@pytest.mark.parametrize("branch", ["it's", 'a"b', "x${{y", "ü"])
def test_a_branch_that_would_change_the_job_is_refused(branch: str, tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch", branch)
    done = cli(tmp_path, "init", "--ci", "github")
    assert (done.code, "no job can be written for a branch called" in done.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == [".git"]


def test_a_folder_in_a_repository_is_no_place_for_a_job(tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "--quiet")
    for name in ("there", "new"):
        (tmp_path / "there").mkdir(exist_ok=True)
        done = cli(tmp_path, "init", name, "--ci", "github")
        assert (done.code, "at the top of a repository" in done.err) == (2, True)
    assert [*(tmp_path / "there").iterdir()] == []
    assert not (tmp_path / "new").exists()
    assert cli(tmp_path, "init", "there").code == 0


def test_no_right_is_given_but_to_publish_and_no_secret_to_anybody(tmp_path: Path) -> None:
    for kind in CI_FILES:
        init(tmp_path, kind)
    workflow = job_file(tmp_path, "github")
    assert workflow["permissions"] == {"contents": "read"}
    rights = {name: job.get("permissions") for name, job in workflow["jobs"].items()}
    assert rights == {"board": None, "publish": {"pages": "write", "id-token": "write"}}
    assert job_file(tmp_path, "forgejo")["permissions"] == {"contents": "read"}
    for kind in CI_FILES:
        told = yaml.safe_dump(job_file(tmp_path, kind))
        assert not [
            word for word in ("secrets", "pull_request_target", "workflow_run", "${{ github.head_ref") if word in told
        ]
        runs = "".join(commands(job_file(tmp_path, kind), kind, "pull request"))
        assert "${{" not in runs


def test_a_report_for_gitlab_knows_a_problem_again_wherever_it_stands(tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "--quiet")
    text = "name: A\nstatus: soon\npriority: soon\nlabels: ['', '']\n"
    reports = []
    for above in ("", "# more\n\n"):
        write_files(tmp_path, {"tasks/web/project.yaml": "name: Web\n", "tasks/web/web-000001.yaml": above + text})
        done = cli(tmp_path, "validate", "--format", "gitlab")
        assert done.code == 1
        reports.append(json.loads(done.out))
    first, then = reports
    assert len(first) >= 3
    assert len({entry["fingerprint"] for entry in first}) == len(first)
    assert [entry["fingerprint"] for entry in first] == [entry["fingerprint"] for entry in then]
    assert [entry["location"]["lines"]["begin"] + 2 for entry in first] == [
        entry["location"]["lines"]["begin"] for entry in then
    ]
    (tmp_path / "tasks/web/web-000001.yaml").write_text("name: A\n")
    assert json.loads(cli(tmp_path, "validate", "--format", "gitlab").out) == []


# -- its commands ---------------------------------------------------------------------------------------------------


def commands(job: dict[Any, Any], kind: str, event: str) -> Iterator[str]:
    """What the job runs for a push to the default branch or for a pull request, but for the installation."""
    if kind == "gitlab":
        name = "pages" if event == "push" else "dagtasks"
        yield from (line for line in [*job[".dagtasks"]["before_script"], *job[name]["script"]] if "pip" not in line)
        return
    for step in job["jobs"]["board"]["steps"]:
        wanted = {"github.event_name == 'pull_request'": "pull request", "github.event_name != 'pull_request'": "push"}
        if "run" in step and "Install" not in step["name"] and wanted.get(step.get("if", ""), event) == event:
            yield step["run"]


def run_job(folder: Path, kind: str, event: str, **env: str) -> list[subprocess.CompletedProcess[str]]:
    """Run the commands, each in a shell of its own that stops at the first failure, up to the first that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    base = git(folder, "merge-base", "HEAD", "refs/remotes/origin/main")
    names = {"GITHUB_BASE_REF": "main", "CI_MERGE_REQUEST_DIFF_BASE_SHA": base} if event != "push" else {}
    done: list[subprocess.CompletedProcess[str]] = []
    for command in commands(job_file(folder, kind), kind, event):
        done.append(
            subprocess.run(
                ["bash", "-e", "-c", command],
                cwd=folder,
                capture_output=True,
                text=True,
                env={**os.environ, "NO_MKDOCS_2_WARNING": "1", **names, **env, "PATH": path},
                check=False,
            )
        )
        if done[-1].returncode:
            break
    return done


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository as a forge has it: the sample with all jobs on `main`, records of runs, two proposed changes."""
    bare, made = tmp_path_factory.mktemp("forge") / "web.git", tmp_path_factory.mktemp("made")
    git(bare.parent, "init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
    git(made, "init", "--quiet", "--initial-branch", "main")
    for kind in CI_FILES:
        init(made, kind)
    settings = "forge:\n  kind: gitea\n  url: https://git.example.org/team/web\n"
    write_files(made, {**sample_files(), "config/default.yaml": settings})
    commit(made, "start")
    Project(made).runs.publish([run for run in sample_runs() if run.status.is_final])
    propose(made, "good", "web-9n4r8v", "status: planned", "status: in_progress")
    propose(made, "bad", "web-9n4r8v", "status: planned", "status: soon")
    git(made, "push", "--quiet", str(bare), "main", "good", "bad", "refs/dagtasks/*:refs/dagtasks/*")
    return bare


def commit(root: Path, message: str) -> None:
    git(root, "add", "--all")
    git(root, "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "-q", "--message", message)


def propose(root: Path, branch: str, task: str, old: str, new: str) -> None:
    git(root, "checkout", "--quiet", "-b", branch, "main")
    path = root / f"tasks/web/{task}.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    commit(root, branch)


def check_out(hosted: Path, folder: Path, branch: str) -> Path:
    """What the action of a forge does: all branches, no other refs, and for a proposed change no branch of its own."""
    git(folder.parent, "init", "--quiet", str(folder))
    git(folder, "remote", "add", "origin", str(hosted))
    git(folder, "fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*")
    if branch == "main":
        git(folder, "checkout", "--quiet", "-B", "main", "refs/remotes/origin/main")
    else:
        git(folder, "checkout", "--quiet", "--detach", f"refs/remotes/origin/{branch}")
    return folder


KINDS = ["github", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gitlab", "forgejo"))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_push_builds_the_board_with_history_and_runs(kind: str, hosted: Path, tmp_path: Path) -> None:
    folder = check_out(hosted, tmp_path / "clone", "main")
    done = run_job(folder, kind, "push")
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * len(done)
    site = folder / ("public" if kind == "gitlab" else "site")
    assert (site / "r/20261123t091500-k3f9ab.html").is_file()
    task = (site / "t/web-9n4r8v.html").read_text()
    assert "created" in task
    assert "https://git.example.org/team/web/_edit/main/tasks/web/web-9n4r8v.yaml" in task
    assert git(folder, "status", "--porcelain") in ("", "?? public/")


@pytest.mark.slow
@pytest.mark.parametrize("kind", CI_FILES)
def test_a_proposed_change_is_checked_and_built(kind: str, hosted: Path, tmp_path: Path) -> None:
    folder = check_out(hosted, tmp_path / "clone", "good")
    done = run_job(folder, kind, "pull request")
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * len(done)
    task = (folder / "site/t/web-9n4r8v.html").read_text()
    assert "dt-is-in_progress" in task
    assert "Limit the rate of failed sign-ins" in (folder / "site/diff.html").read_text()
    assert "/_edit/main/" in task  # no branch is checked out: the default one is that of the remote


@pytest.mark.parametrize("kind", CI_FILES)
def test_a_wrong_file_stops_the_job_and_says_where(kind: str, hosted: Path, tmp_path: Path) -> None:
    folder = check_out(hosted, tmp_path / "clone", "bad")
    *before, last = run_job(folder, kind, "pull request")
    assert [each.returncode for each in before] == [0] * len(before)
    assert last.returncode == 1
    place = "::error file=tasks/web/web-9n4r8v.yaml,line=" if kind == "github" else "tasks/web/web-9n4r8v.yaml:"
    assert place in last.stdout
    assert not (folder / "site").exists()
    if kind == "gitlab":
        report = json.loads((folder / "dagtasks-quality.json").read_text())
        [entry] = [each for each in report if each["severity"] == "major"]
        assert entry["location"] == {"path": "tasks/web/web-9n4r8v.yaml", "lines": {"begin": 2}}


def test_a_repository_without_records_of_runs_is_fetched_from_all_the_same(hosted: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(hosted), str(bare))
    git(bare, "update-ref", "-d", "refs/dagtasks/runs")
    folder = check_out(bare, tmp_path / "clone", "bad")
    done = run_job(folder, "github", "pull request")
    assert [each.returncode for each in done] == [0, 1]


def test_the_push_that_the_job_of_forgejo_offers_publishes_the_site(hosted: Path, tmp_path: Path) -> None:
    folder = check_out(hosted, tmp_path / "clone", "main")
    write_files(folder, {"site/index.html": "new\n"})
    lines = (folder / JOBS["forgejo"]).read_text().partition("      # - name: Publish")[2].splitlines()[1:]
    step = yaml.safe_load("\n".join(line.replace("# ", "", 1) for line in lines))
    bare = tmp_path / "pages.git"
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    for _ in range(2):
        shutil.rmtree(folder / "site/.git", ignore_errors=True)
        env = {**os.environ, "PAGES_URL": str(bare), "GITHUB_SHA": "9f2b1c7e"}
        subprocess.run(["bash", "-e", "-c", step["run"]], cwd=folder, env=env, check=True)
    assert git(bare, "show", "pages:index.html") == "new"
    assert git(bare, "log", "--format=%s", "pages") == "Board of 9f2b1c7e"
