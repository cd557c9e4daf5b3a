#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Laptop-days by chance: lives of ten days each, with networks, outages, portals, allowances, crashes and picks
drawn from a seed, each written as a story and played by waypost-simulate. At the end everything is well again and
a few days go by: then every mail must have arrived, once unless a doubt or a crash explains a second copy; no
allowance was exceeded; and in lives without trouble of servers no mail has more than one attempt, for being offline
is none.

    tests/sim/laptop.py [--days 100000] [--first SEED] [--jobs 2] [--keep DIR] build/waypost-simulate
"""
import argparse
import collections
import concurrent.futures
import json
import pathlib
import random
import subprocess
import sys
import tempfile

LIFE = 10  # days
PLACES = {
    "office": {"eth0": "10.20.3.4/24"},
    "home": {"wlan0": "192.168.178.20/24"},
    "cafe": {"wlan0": "172.16.1.9/24"},
    "phone": {"wwan0": "100.64.0.7/24"},
    "nowhere": {},
}
LINKS = ["eth0", "wlan0", "wwan0"]
PER_DAY, PER_HOUR = 25, 12
CONFIG = f"""
networks:
  office: {{address: [10.20.0.0/16]}}
  home: {{subnet: [192.168.178.0/24]}}
gateways:
  company: {{url: "smtp://10.20.0.25", networks: [office], priority: highest}}
  isp: {{url: "smtp://mail.isp.example", networks: [home], priority: high}}
  mobile: {{url: "smtp+starttls://me@smtp.mobile.example", password: x, limits: {{per_day: {PER_DAY}}}}}
  spare: {{url: "smtp+starttls://me@smtp.spare.example", password: x, priority: low, limits: {{per_hour: {PER_HOUR}}}}}
queue: {{warn: never, expire: never}}
"""
TROUBLES = [
    {"is": "down"}, {"is": "silent"}, {"is": "unreachable"}, {"is": "closing"}, {"slow": "20s"},
    {"rcpt": "450 4.2.0 come again"}, {"greeting": "421 4.3.2 too busy"},
    {"final": "550 5.4.5 Daily user sending quota exceeded."}, {"auth": "535 5.7.8 no"}, {"is": "lose-final"},
]


def flow(value):
    """YAML in one line."""
    return json.dumps(value)


def write_life(seed):
    rng = random.Random(seed)
    rude = rng.random() < 0.5
    events = []  # (second, text)
    names = 0
    place = None
    captive = False

    def add(at, **what):
        events.append((at, what))

    for day in range(LIFE):
        for _ in range(rng.randint(2, 8)):
            at = day * 86400 + rng.randint(0, 86399)
            new = rng.choice(list(PLACES))
            add(at, move=new)
            if new == "cafe" and rng.random() < 0.5:
                add(at + 1, captive=True)
                add(at + rng.randint(60, 7200), captive=False)
        for _ in range(rng.randint(1, 10)):
            names += 1
            add(day * 86400 + rng.randint(0, 86399),
                mail={"name": f"m{names}", "to": f"user{rng.randint(1, 9)}@d{rng.randint(1, 5)}.example",
                      "count": rng.choice([1, 1, 1, 2, 3, 10]), "class": rng.choice(["normal", "normal", "urgent", "bulk"])})
        if rng.random() < 0.2:
            add(day * 86400 + rng.randint(0, 86399), crash=rng.choice(["kill", "power"]))
        if rng.random() < 0.2:
            add(day * 86400 + rng.randint(0, 86399), pick=rng.choice(["next", "auto", "mobile", "spare"]))
        if rude:
            for _ in range(rng.randint(0, 4)):
                at = day * 86400 + rng.randint(0, 86399)
                server = rng.choice(["company", "isp", "mobile", "spare"])
                add(at, server={server: rng.choice(TROUBLES)})
                add(at + rng.randint(10, 20000), server={server: {"is": "up", "slow": "0s"}})
            if rng.random() < 0.2:
                at = day * 86400 + rng.randint(0, 86399)
                add(at, dns=rng.choice(["dead", "silent"]))
                add(at + rng.randint(10, 10000), dns="alive")
    events.sort(key=lambda e: e[0])

    lines = [f"title: life {seed}", "config: |"]
    lines += ["  " + line for line in CONFIG.strip().splitlines()]
    lines.append("story:")
    now = 0

    def step(at, text):
        nonlocal now
        if at > now:
            lines.append(f"  - after: {at - now}s")
            lines.append(f"    {text}")
        else:
            lines.append(f"  - {text}")
        now = max(now, at)

    up = {"eth0"}
    for at, what in events + [(LIFE * 86400, {"move": "home"})]:
        if "move" in what:
            wanted = PLACES[what["move"]]
            change = {link: "gone" for link in sorted(up) if link not in wanted} | wanted
            up = set(wanted)
            if change:
                step(at, f"links: {flow(change)}")
        elif "captive" in what:
            step(at, "connection: " + flow({"id": "cafe", "type": "wifi", "interface": "wlan0",
                                            "captive": "yes" if what["captive"] else "no"}))
        else:
            (key, value), = what.items()
            step(at, f"{key}: {flow(value)}")
    end = LIFE * 86400 + 60
    step(end, "connection: " + flow({"id": "home", "type": "wifi", "interface": "wlan0", "captive": "no"}))
    step(end, "dns: alive")
    step(end, "server: " + flow({s: {"is": "up", "slow": "0s"} for s in ["company", "isp", "mobile", "spare"]}))
    step(end, "pick: auto")
    step(end + 3 * 86400, "expect: {waiting: 0}")
    return rude, "\n".join(lines) + "\n"


def check(rude, answer):
    faults = []
    per_day, times = collections.Counter(), []
    for mail in answer["mails"]:
        rcpt = mail["recipients"][0]
        if rcpt["state"] not in ("relayed", "delivered"):
            faults.append(f"{mail['name']} is {rcpt['state']}")
        doubts = any("in doubt" in e["text"] for e in mail["events"])
        if not rude and not doubts and rcpt["tries"] > 1:
            faults.append(f"{mail['name']} has {rcpt['tries']} attempts, and no server was rude")
        for event in mail["events"]:
            if "relayed" not in event["text"]:
                continue
            # What was begun before midnight may end after it, so the first moments count for no day.
            if event["gateway"] == "mobile" and event["at_ms"] % 86400000 > 90000:
                per_day[event["at_ms"] // 86400000] += 1
            elif event["gateway"] == "spare":
                times.append(event["at_ms"])
    for day, count in per_day.items():
        if count > PER_DAY:
            faults.append(f"mobile was given {count} on day {day}, {PER_DAY} are allowed")
    times.sort()
    for i in range(PER_HOUR, len(times)):
        if times[i] - times[i - PER_HOUR] < 3600000 - 90000:
            faults.append(f"spare was given more than {PER_HOUR} in an hour before {times[i]} ms")
            break
    return faults


def live(program, seed, keep):
    rude, story = write_life(seed)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix=f"life-{seed}-", delete=False) as f:
        f.write(story)
    done = subprocess.run([program, "--json", "--seed", str(seed), f.name], capture_output=True, text=True, timeout=600)
    faults = []
    if done.returncode != 0:
        faults.append((done.stderr.strip() or f"it ended with {done.returncode}")[-600:])
    try:
        answer = json.loads(done.stdout)
        faults += check(rude, answer)
        mails = len(answer["mails"])
    except ValueError:
        faults.append("no answer")
        mails = 0
    if faults and keep:
        pathlib.Path(keep, f"life-{seed}.yaml").write_text(story)
    pathlib.Path(f.name).unlink()
    return seed, mails, faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep")
    parser.add_argument("program")
    args = parser.parse_args()
    seeds = range(args.first, args.first + max(1, args.days // LIFE))
    mails = bad = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for seed, count, faults in pool.map(lambda s: live(args.program, s, args.keep), seeds):
            mails += count
            if faults:
                bad += 1
                print(f"life {seed}:", *faults[:5], sep="\n  ")
    print(f"{len(seeds) * LIFE} laptop-days, {mails} mails: {len(seeds) - bad} lives well, {bad} not")
    return bad > 0


sys.exit(main())
