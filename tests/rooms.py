#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Checks that the arrows between the rooms of src/ run one way (src/ROOMS), that foreign headers stay in their room, that
banned functions are not used, that every source opens as the house wants it, and that the real world (src/sys) and the
simulated one (src/sim) define what the public headers of src/sys declare, all of it and each of them once."""
import pathlib
import re
import sys

SRC = pathlib.Path(__file__).resolve().parent.parent / "src"
BANNED = re.compile(
    r"\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atoll|gets|strncpy|alloca|"
    r"malloc|calloc|realloc|free|strdup|strndup|asprintf|vasprintf)\s*\(")
# Memory of foreign libraries and the allocator itself.
MAY_FREE = {"base/mem.c"}
# The world's doors: only sys may call these.
WORLD = re.compile(r"\b(time|gettimeofday|clock_gettime|rand|random|getrandom|usleep|nanosleep|sleep|socket|connect|"
                   r"pthread_create|pthread_mutex_lock|fsync|fdatasync|getaddrinfo)\s*\(")


def strip(text):
    """The code without comments and string contents."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: '""' if m.group()[0] == '"' else " ", text, flags=re.S)


def read_rooms():
    level, may, only = {}, {}, {}
    for line in (SRC / "ROOMS").read_text().splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "only":
            only[words[1]] = words[2:]
        else:
            level[words[0]] = int(words[1])
            may[words[0]] = set(words[2:])
    return level, may, only


def outermost(text):
    """The code outside of braces, each body standing as {}, without preprocessor lines and attributes."""
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", strip(text), flags=re.M)
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", text)
    out, depth = [], 0
    for part in re.split(r"([{}])", text):
        depth -= part == "}"
        if depth == 0 or (part == "{" and depth == 1):
            out.append(part)
        depth += part == "{"
        if part == "{" and depth == 1:
            out.append("{")
    return re.sub(r"\{+\s*\}", "{}", "".join(out))


def symbol(chunk):
    """The name that a declaration or the head of a definition makes known to others; None when it makes none."""
    chunk = chunk.replace("{}", " ").strip()
    if re.match(r"(static|typedef|_Static_assert)\b", chunk):
        return None
    name = re.search(r"\b(\w+)\s*\((?!\s*\*)", chunk) or re.match(r"extern\b.*?(\w+)(?:\s*\[[^\]]*\])*$", chunk, re.S)
    return name.group(1) if name else None


def world_faults():
    promised, faults = {}, []
    for path in sorted((SRC / "sys").glob("*.h")):
        if "Not for other rooms" in path.read_text():
            continue
        for chunk in outermost(path.read_text()).split(";"):
            # A struct or an inline function may stand before it without a semicolon.
            name = symbol(re.split(r"\{\}(?=\s*\n)", chunk)[-1])
            if name:
                promised[name] = path.name
    for world in ("sys", "sim"):
        made = {}
        for path in sorted((SRC / world).glob("*.c")):
            if path.name.endswith("_test.c"):
                continue
            for chunk in outermost(path.read_text()).replace("{}", "{};").split(";"):
                name = symbol(chunk) if chunk.endswith("{}") else None
                if name:
                    made.setdefault(name, []).append(path.name)
        for name, header in promised.items():
            if name not in made:
                faults.append(f"{world}: does not define {name}, which sys/{header} declares")
        faults += [f"{world}: {name} is defined in {' and '.join(paths)}" for name, paths in made.items()
                   if name in promised and len(paths) > 1]
    if len(promised) < 50:
        faults.append(f"rooms.py: only {len(promised)} declarations understood in src/sys")
    return faults


def main():
    level, may, only = read_rooms()
    faults = world_faults()
    for room, rooms in may.items():
        for other in rooms:
            if level[other] > level[room]:
                faults.append(f"ROOMS: {room} (level {level[room]}) may not point up to {other} (level {level[other]})")
    # No circle among rooms, also not within one level.
    done = set()
    while len(done) < len(may):
        free = [r for r in may if r not in done and may[r] <= done]
        if not free:
            faults.append(f"ROOMS: a circle among {sorted(set(may) - done)}")
            break
        done.update(free)
    files = sorted(p for p in SRC.rglob("*") if p.suffix in (".c", ".h"))
    for path in files:
        name = path.relative_to(SRC).as_posix()
        room = name.split("/")[0]
        text = path.read_text()
        test = name.endswith("_test.c")
        if room not in may:
            faults.append(f"{name}: folder {room} is not in ROOMS")
            continue
        if not text.startswith("// SPDX-License-Identifier: ISC\n// "):
            faults.append(f"{name}:1: must begin with the SPDX line and a sentence")
        for number, line in enumerate(text.splitlines(), 1):
            include = re.match(r'\s*#\s*include\s*(["<])([^">]+)', line)
            if not include:
                continue
            target = include.group(2)
            if include.group(1) == '"':
                other = target.split("/")[0]
                if "/" not in target or other not in may:
                    faults.append(f"{name}:{number}: include \"{target}\" must name its room")
                elif other != room and other not in may[room] and not test:
                    faults.append(f"{name}:{number}: room {room} may not include {other} (src/ROOMS)")
                continue
            for foreign, rooms in only.items():
                if target.startswith(foreign) and room not in rooms and not test:
                    faults.append(f"{name}:{number}: <{target}> belongs to room {' '.join(rooms)} only")
        if test:
            continue
        for number, line in enumerate(strip(text).splitlines(), 1):
            hit = BANNED.search(line)
            if hit and name not in MAY_FREE and room != "sim":
                faults.append(f"{name}:{number}: {hit.group(1)} is banned (CONTRIBUTING.md)")
            hit = WORLD.search(line)
            if hit and room not in ("sys", "sim"):
                faults.append(f"{name}:{number}: {hit.group(1)} belongs behind sys/")
    for fault in faults:
        print(fault)
    print(f"rooms: {len(files)} files in {len(may)} rooms, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
