"""A random project and random queries over it, the same for the same seed: all keys, right and wrong values, odd letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

import yaml

from dagtasks.model.values import Priority, Status
from dagtasks.planning.query import KEYS, SORTS, STATES

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
WORDS = [
    "Build",
    "form",
    "Straße",
    "ΣΊΣΥΦΟΣ",
    "İstanbul",
    "ırmak",
    "ﬁne",
    "Ꭰꭰ",
    "naïve",
    "日本",
    "𝔘ni",
    "𐐀x",
    "ǅ",
    "a'b",
    "page",
    "the",
    "of",
    "￦",
    "😀",
]
LABELS = ["ui", "api", "a b", "x,y", 'in"ch', "Ünï", "it's", "back\\slash", *(f"area-{n}" for n in range(20))]
PEOPLE = ["ann", "Ben Okafor", "agent:x", "chloé", *(f"dev{n}" for n in range(20))]
PHASES = ["build", "test", "ship"]
DAYS = ["2026-01-31", "2026-11-22", "2026-11-23", "2026-12-24"]
VALUES: list[object] = [
    "core",
    "Core",
    "",
    3,
    1.0,
    0.1,
    True,
    None,
    ["a", 2, None, ["deep"]],
    {"k": "v", "n": {"m": [1.5]}},
    "y" * 201,
]
PATHS = ["team", "points", "__proto__", "constructor", "a.b", "map"]
BLANKS = [" ", "  ", "\t", "\u00a0", "\u3000", "\x1c", "\ufeff"]


def random_files(chance: Random, count: int = 120) -> dict[str, str]:
    """A repository of two projects with that many tasks, and three files that cannot be read."""
    files = {f"tasks/{key}/project.yaml": f"name: Project {key}\n" for key in ("web", "ops")}
    files |= {f"tasks/web/phases/{key}.yaml": f"name: P {key}\norder: {n % 2}\n" for n, key in enumerate(PHASES)}
    ids: list[str] = []
    for _ in range(count):
        project = chance.choice(("web", "ops"))
        ids.append(f"{project}-{chance.choice('0ab')}" + "".join(chance.choices(ALPHABET, k=5)))
        files[f"tasks/{project}/{ids[-1]}.yaml"] = _random_task(chance, project, ids[:-1])
    return files | {f"tasks/web/web-z{n}0000.yaml": "name: [\n" for n in range(3)}


def _random_task(chance: Random, project: str, others: list[str]) -> str:
    data: dict[str, object] = {
        "name": " ".join(chance.choices(WORDS, k=chance.randint(1, 5))),
        "status": str(chance.choice(list(Status))),
        "priority": str(chance.choice(list(Priority))),
        "labels": sorted(chance.sample(LABELS, chance.choice((0, 1, 2, 5)))),
        "depends_on": sorted(chance.sample(others, min(len(others), chance.choice((0, 0, 1, 2))))),
        "metadata": {path: chance.choice(VALUES) for path in chance.sample(PATHS, chance.choice((0, 1, 3)))},
    }
    optional = {"assignee": chance.choice(PEOPLE), "due": chance.choice(DAYS)}
    if project == "web":
        optional["phase"] = chance.choice(PHASES)
    data |= {key: value for key, value in optional.items() if chance.random() < 0.7}
    return yaml.safe_dump({key: value for key, value in data.items() if value}, allow_unicode=True)


def random_query(chance: Random, ids: list[str]) -> str:
    """Up to three words; about every third query is wrong somewhere."""
    words = [_random_word(chance, ids) for _ in range(chance.choice((1, 1, 2, 2, 3)))]
    text = chance.choice(BLANKS if chance.random() < 0.2 else [" "]).join(words)
    return text + ('"' if chance.random() < 0.02 else "")


def _random_word(chance: Random, ids: list[str]) -> str:
    dash = chance.choices(("", "-", "--"), (8, 2, 0.2))[0]
    make: Callable[[Random, list[str]], str] = chance.choices((_term, _free_text), (3, 1))[0]
    return dash + make(chance, ids)


def _term(chance: Random, ids: list[str]) -> str:
    key = chance.choice(KEYS).replace("<key>", chance.choice([*PATHS, "map.k", "map.n.m", "map.n", "none", ""]))
    values = [_written(chance, _value(chance, key, ids)) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    if chance.random() < 0.05:
        key = chance.choice(("statsu", "toString", "Label", "", "metadata", "@x"))
    if key == "assignee" and chance.random() < 0.5:
        return "@" + ",".join(values)
    return f"{key}:{','.join(values)}" if chance.random() < 0.98 else f"{key}:"


def _value(chance: Random, key: str, ids: list[str]) -> str:
    known = {
        "status": list(map(str, Status)),
        "priority": list(map(str, Priority)),
        "project": ["web", "ops"],
        "phase": [*PHASES, "web/build", "web/ship"],
        "assignee": PEOPLE,
        "label": LABELS,
        "is": list(STATES),
        "due": [sign + day for sign in ("", "=", "<", "<=", ">", ">=") for day in (*DAYS, "2026-06-01")],
        "id": [
            *ids,
            *(one[: chance.randint(1, 10)] for one in ids),
            *(one.partition("-")[2] for one in ids),
            "z0",
            "web-z2",
        ],
    }.get(key, ["core", "Core", "", "3", "1.0", "0.1", "true", "a", "2", "v", "1.5", "deep", "None", "y" * 201])
    value = chance.choice(known)
    return value if chance.random() < 0.9 else _spoiled(chance, value)


def _spoiled(chance: Random, value: str) -> str:
    place = chance.randint(0, len(value))
    return value[:place] + chance.choice(("", "e", "é", "'", "\\", "\u00ad", "\U0001f600", value)) + value[place + 1 :]


def _written(chance: Random, value: str) -> str:
    if chance.random() < 0.9 and not set(value) & set(' ",\\'):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if chance.random() < 0.95 else value


def _free_text(chance: Random, ids: list[str]) -> str:
    text = chance.choice(
        (" ".join(chance.choices(WORDS, k=2)), chance.choice(WORDS), chance.choice(WORDS), chance.choice(ids))
    )
    start = chance.randint(0, 2)
    part = text[start : start + chance.randint(1, 8)]
    return _written(chance, chance.choice((part, part.upper(), part.lower(), part.swapcase(), part.casefold())))


def near_query(chance: Random, known: Mapping[str, Sequence[str]]) -> str:
    """A query for a value that is like one or two of those there are, or like many times one."""
    key = chance.choice(sorted(known))
    value = "".join(chance.sample(known[key], chance.choice((1, 1, 2)))) * chance.choice((1, 1, 1, 2, 30))
    for _ in range(chance.randint(1, 4)):
        value = _spoiled(chance, value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}:"{escaped}"'


def random_sort(chance: Random) -> str:
    """A field to sort by; now and then one that there is not."""
    return chance.choice(("", "-")) + chance.choices((*SORTS, "label", "-id"), (*(1 for _ in SORTS), 0.2, 0.2))[0]
