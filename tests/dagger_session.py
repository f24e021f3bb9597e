"""A Dagger session without an engine: answers what `engine.dagger` asks, by processes of this machine.

The real SDK talks to it. Every query is validated against the schema that the engine publishes, when that is at hand
(the file that DAGTASKS_TEST_SCHEMA names), else against the part of it below. It is no second engine: what a container
is, is tested on a real one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import graphql

SDL = """
scalar Platform
interface Node { id: ID! }
interface Syncer implements Node { id: ID!, sync: ID! }
enum ReturnType { SUCCESS FAILURE ANY }
enum ExistsType { REGULAR_TYPE DIRECTORY_TYPE SYMLINK_TYPE }
enum CacheSharingMode { SHARED PRIVATE LOCKED }
type Query {
  version: String!
  container(platform: Platform): Container!
  directory: Directory!
  host: Host!
  cacheVolume(key: String!, source: ID, sharing: CacheSharingMode = SHARED, owner: String = ""): CacheVolume!
  setSecret(name: String!, plaintext: String!): Secret!
  node(id: ID!): Node
}
type Host implements Node {
  id: ID!
  directory(path: String!, exclude: [String!] = [], include: [String!] = [], noCache: Boolean = false,
    gitignore: Boolean = false): Directory!
}
type CacheVolume implements Node { id: ID! }
type Secret implements Node { id: ID! }
type Directory implements Node & Syncer {
  id: ID!
  sync: ID!
  withNewDirectory(path: String!, permissions: Int = 420): Directory!
  glob(pattern: String!): [String!]!
  filter(exclude: [String!] = [], include: [String!] = [], gitignore: Boolean = false): Directory!
  file(path: String!): File!
  export(path: String!, wipe: Boolean = false): String!
}
type File implements Node & Syncer {
  id: ID!
  sync: ID!
  size: Int!
  contents(offsetLines: Int, limitLines: Int): String!
  export(path: String!, allowParentDirPath: Boolean = false): String!
}
type Container implements Node & Syncer {
  id: ID!
  sync: ID!
  from(address: String!, registryService: ID): Container!
  imageRef: String!
  withUser(name: String!): Container!
  withWorkdir(path: String!, expand: Boolean = false): Container!
  withEnvVariable(name: String!, value: String!, expand: Boolean = false): Container!
  withNewFile(path: String!, contents: String!, permissions: Int = 420, owner: String = "", expand: Boolean = false):
    Container!
  withDirectory(path: String!, source: ID!, exclude: [String!] = [], include: [String!] = [],
    gitignore: Boolean = false,
    owner: String = "", expand: Boolean = false, permissions: Int): Container!
  withExec(args: [String!]!, useEntrypoint: Boolean = false, stdin: String = "", redirectStdin: String = "",
    redirectStdout: String = "", redirectStderr: String = "", expect: ReturnType = SUCCESS,
    experimentalPrivilegedNesting: Boolean = false, insecureRootCapabilities: Boolean = false, expand: Boolean = false,
    noInit: Boolean = false): Container!
  withMountedDirectory(path: String!, source: ID!, owner: String = "", readOnly: Boolean = false,
    expand: Boolean = false): Container!
  withMountedCache(path: String!, cache: ID!, source: ID, sharing: CacheSharingMode = SHARED, owner: String = "",
    expand: Boolean = false): Container!
  withMountedSecret(path: String!, source: ID!, owner: String = "", mode: Int = 256, expand: Boolean = false):
    Container!
  withSecretVariable(name: String!, secret: ID!): Container!
  user: String!
  exists(path: String!, expectedType: ExistsType, doNotFollowSymlinks: Boolean = false, expand: Boolean = false):
    Boolean!
  directory(path: String!, expand: Boolean = false): Directory!
  exitCode: Int!
  stdout: String!
  stderr: String!
  file(path: String!, expand: Boolean = false): File!
}
"""
IMAGES = ("alpine", "busybox", "debian", "python")


def read_published_schema() -> graphql.GraphQLSchema | None:
    """The schema that the engine publishes, when it is at hand."""
    beside = Path(__file__).parents[2] / "shared/dagger/schema.json"
    path = Path(os.environ.get("DAGTASKS_TEST_SCHEMA") or beside)
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    return graphql.build_client_schema(data.get("data", data))


@dataclass(frozen=True)
class Done:
    root: Path
    code: int
    stdout: str
    stderr: str


class Thing:
    """What has an id. graphql-core calls the methods that are named like the fields."""

    session: Session

    def id(self, info: Any) -> str:
        return self.session.remember(self)

    def sync(self, info: Any) -> str:
        return self.session.remember(self)


@dataclass(frozen=True, eq=False)
class Directory(Thing):
    """New folders, or what lies in a folder of this machine."""

    session: Session
    folders: tuple[str, ...] = ()
    place: Path = Path()
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] | None = None
    __typename = "Directory"

    def withNewDirectory(self, info: Any, path: str, permissions: int) -> Directory:
        return replace(self, folders=(*self.folders, path))

    def filter(self, info: Any, include: list[str], **rest: Any) -> Directory:
        return replace(self, include=tuple(include))

    def glob(self, info: Any, pattern: str) -> list[str]:
        assert pattern == "**"
        return [f"{path}/" if is_folder(self.place / path) else path for path in self.paths()]

    def file(self, info: Any, path: str) -> File:
        return File(self.session, self.place / path, path)

    def export(self, info: Any, path: str, wipe: bool) -> str:
        self.copy_to(Path(path))
        return path

    def paths(self) -> list[str]:
        """What lies in it, by relative paths."""
        found = sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*"))
        kept = [path for path in found if not is_meant(path, self.exclude)]
        return [path for path in kept if self.include is None or is_meant(path, self.include)]

    def copy_to(self, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for path in self.paths():
            if is_folder(self.place / path):
                (target / path).mkdir(parents=True, exist_ok=True)
            else:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.place / path, target / path, follow_symlinks=False)


def is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


def is_meant(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern without wildcards is the path, or a folder that it lies in."""
    plain = [re.sub(r"\\(.)", r"\1", pattern) for pattern in patterns]
    return any(path == pattern or path.startswith(f"{pattern}/") for pattern in plain)


@dataclass(frozen=True, eq=False)
class Host(Thing):
    session: Session
    __typename = "Host"

    def directory(self, info: Any, path: str, exclude: list[str], **rest: Any) -> Directory:
        return Directory(self.session, place=Path(path), exclude=tuple(exclude))


@dataclass(frozen=True, eq=False)
class CacheVolume(Thing):
    session: Session
    key: str
    __typename = "CacheVolume"


@dataclass(frozen=True, eq=False)
class Secret(Thing):
    session: Session
    plaintext: str
    __typename = "Secret"


@dataclass(frozen=True, eq=False)
class File(Thing):
    session: Session
    path: Path
    name: str
    __typename = "File"

    def size(self, info: Any) -> int:
        if not self.path.is_file():
            raise graphql.GraphQLError(f"stat {self.name}: no such file or directory [traceparent:0-0]")
        return self.path.stat().st_size

    def contents(self, info: Any, **lines: int) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def export(self, info: Any, path: str, **rest: Any) -> str:
        shutil.copy2(self.path, path)
        return path


@dataclass(frozen=True, eq=False)
class Container(Thing):
    session: Session
    image: str = ""
    workdir: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    mounts: dict[str, Any] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    expect: str = "SUCCESS"
    done: list[Done] = field(default_factory=list)
    __typename = "Container"

    async def sync(self, info: Any) -> str:
        await self.result()
        return self.session.remember(self)

    def imageRef(self, info: Any) -> str:
        return f"docker.io/library/{self.image}@sha256:{hashlib.sha256(self.image.encode()).hexdigest()}"

    def withUser(self, info: Any, name: str) -> Container:
        return self

    def user(self, info: Any) -> str:
        return ""

    def withMountedCache(self, info: Any, path: str, cache: str, **rest: Any) -> Container:
        return replace(self, mounts={**self.mounts, path: self.session.things[cache]})

    def withSecretVariable(self, info: Any, name: str, secret: str) -> Container:
        return replace(self, env={**self.env, name: self.session.things[secret].plaintext})

    def withWorkdir(self, info: Any, path: str, expand: bool) -> Container:
        return replace(self, workdir=path)

    def withEnvVariable(self, info: Any, name: str, value: str, expand: bool) -> Container:
        return replace(self, env={**self.env, name: value})

    def withNewFile(self, info: Any, path: str, contents: str, **rest: Any) -> Container:
        return replace(self, files={**self.files, path: contents})

    def withExec(self, info: Any, args: list[str], expect: str, **rest: Any) -> Container:
        return replace(self, argv=tuple(args), expect=expect, done=[])

    async def exitCode(self, info: Any) -> int:
        return (await self.result()).code

    async def stdout(self, info: Any) -> str:
        return (await self.result()).stdout

    async def stderr(self, info: Any) -> str:
        return (await self.result()).stderr

    async def file(self, info: Any, path: str, expand: bool) -> File:
        return File(self.session, await self.place(path), path)

    async def directory(self, info: Any, path: str, expand: bool) -> Directory:
        return Directory(self.session, place=await self.place(path))

    async def exists(self, info: Any, path: str, **rest: Any) -> bool:
        place = await self.place(path)
        return place.is_dir() if rest.get("expectedType") == "DIRECTORY_TYPE" else place.exists()

    async def place(self, path: str) -> Path:
        return (await self.result()).root / Path(self.workdir, path).relative_to("/")

    async def result(self) -> Done:
        if not self.done:
            self.done.append(await self.session.execute(self))
        [done] = self.done
        if done.code and (self.expect == "SUCCESS" or 128 <= done.code < 192):
            told = {"cmd": list(self.argv), "exitCode": done.code, "stdout": done.stdout, "stderr": done.stderr}
            message = f"exit code: {done.code} [traceparent:0-0]"
            raise graphql.GraphQLError(message, extensions={"_type": "EXEC_ERROR", **told})
        return done


def with_directory(container: Container, info: Any, *, path: str, **rest: Any) -> Container:
    """What `withDirectory` does; a method cannot take an argument called `source`."""
    directory = container.session.things[rest["source"]]
    return replace(container, folders=(*container.folders, *(f"{path}/{name}" for name in directory.folders)))


def with_mounted(container: Container, info: Any, *, path: str, **rest: Any) -> Container:
    """What `withMountedDirectory` and `withMountedSecret` do."""
    return replace(container, mounts={**container.mounts, path: container.session.things[rest["source"]]})


def from_image(container: Container, info: Any, *, address: str, **rest: Any) -> Container:
    """What `from` does; it cannot be the name of a method."""
    name = address.partition("@")[0].removeprefix("docker.io/library/")
    if name.partition(":")[0] not in IMAGES:
        full = f"docker.io/library/{name}"
        raise graphql.GraphQLError(f'failed to resolve image "{full}" (platform: "linux/amd64"): {full}: not found')
    return replace(container, image=name)


class Session:
    """The root of the queries, and all that has an id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.things: dict[str, Any] = {}
        self.token = secrets.token_hex(8)
        self.schema = graphql.build_schema(SDL)
        fields = self.schema.type_map["Container"].fields  # type: ignore[attr-defined]
        fields["from"].resolve = from_image
        fields["withDirectory"].resolve = with_directory
        fields["withMountedDirectory"].resolve = fields["withMountedSecret"].resolve = with_mounted
        self.published = read_published_schema()

    def remember(self, thing: Any) -> str:
        key = next((key for key, known in self.things.items() if known is thing), None)
        key = key or base64.b64encode(f"{type(thing).__name__}{len(self.things)}".encode()).decode()
        self.things[key] = thing
        return key

    def version(self, info: Any) -> str:
        return "v0.21.8"

    def container(self, info: Any, platform: str | None = None) -> Container:
        return Container(self)

    def directory(self, info: Any) -> Directory:
        return Directory(self)

    def host(self, info: Any) -> Host:
        return Host(self)

    def cacheVolume(self, info: Any, key: str, **rest: Any) -> CacheVolume:
        return CacheVolume(self, key)

    def setSecret(self, info: Any, name: str, plaintext: str) -> Secret:
        assert plaintext not in name
        return Secret(self, plaintext)

    def node(self, info: Any, id: str) -> Any:  # noqa: A002
        return self.things[id]

    async def answer(self, query: str) -> dict[str, Any]:
        document = graphql.parse(query)
        errors = graphql.validate(self.published or self.schema, document)
        if errors:
            return {"data": None, "errors": [error.formatted for error in errors]}
        result = graphql.execute(self.schema, document, self)
        done = result if isinstance(result, graphql.ExecutionResult) else await result
        return {"data": done.data, **({"errors": [e.formatted for e in done.errors]} if done.errors else {})}

    async def execute(self, container: Container) -> Done:
        root = Path(tempfile.mkdtemp(dir=self.folder))
        own = {path: str(root / path.lstrip("/")) for path in (*container.files, *container.folders, container.workdir)}
        for path, thing in container.mounts.items():
            self.mount(thing, root / path.lstrip("/"))
        for folder in (*container.folders, container.workdir):
            Path(own[folder]).mkdir(parents=True, exist_ok=True)
        for path, text in container.files.items():
            Path(own[path]).parent.mkdir(parents=True, exist_ok=True)
            Path(own[path]).write_text(text, newline="")
        env = {"PATH": os.environ["PATH"], **{name: own.get(value, value) for name, value in container.env.items()}}
        if "DT_ROOT" in env:  # there is no isolation, so the step's `/` is not that of the machine
            env["DT_ROOT"] = str(root)
        argv = [own.get(item, item) for item in container.argv]
        if not shutil.which(argv[0]):
            return Done(root, 1, "", f'exec: "{container.argv[0]}": executable file not found in $PATH\n')
        return await run_process(argv, env, Path(own[container.workdir]), root)

    def mount(self, thing: Any, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        match thing:
            case Directory():
                thing.copy_to(place)
            case Secret():
                place.write_text(thing.plaintext)
                place.chmod(0o400)
            case CacheVolume():
                (self.folder / thing.key).mkdir(exist_ok=True)
                place.symlink_to(self.folder / thing.key)


async def run_process(argv: list[str], env: dict[str, str], cwd: Path, root: Path) -> Done:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        stdout, stderr = await process.communicate()
    except asyncio.CancelledError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    code = process.returncode or 0
    return Done(
        root, 128 - code if code < 0 else code, stdout.decode(errors="replace"), stderr.decode(errors="replace")
    )


async def serve(session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the queries of one connection; when the client hangs up, what runs for it is ended."""
    head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    try:
        while True:
            lines = (await head).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            login = base64.b64encode(f"{session.token}:".encode()).decode()
            assert headers["authorization"] == f"Basic {login}"
            head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
            answering = asyncio.create_task(session.answer(body["query"]))
            await asyncio.wait({head, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
                await asyncio.wait({answering})
                return
            data = json.dumps(answering.result()).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data))
            writer.write(data)
    except (asyncio.IncompleteReadError, asyncio.CancelledError):
        return
    finally:
        head.cancel()
        await asyncio.wait({head})
        head.cancelled() or head.exception()
        writer.close()


@contextmanager
def dagger_session(folder: Path) -> Iterator[dict[str, str]]:
    """Runs a session in a thread; gives the environment variables that lead the SDK to it."""
    session = Session(folder)
    started = threading.Event()
    told: dict[str, Any] = {}

    async def main() -> None:
        connections: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.current_task())  # type: ignore[arg-type]
            await serve(session, reader, writer)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        told.update(loop=asyncio.get_running_loop(), stop=asyncio.Event(), port=server.sockets[0].getsockname()[1])
        started.set()
        await told["stop"].wait()
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    started.wait()
    try:
        yield {"DAGGER_SESSION_PORT": str(told["port"]), "DAGGER_SESSION_TOKEN": session.token}
    finally:
        told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join()
