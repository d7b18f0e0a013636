"""Misused options, made from each command's own help: what is unknown, missing, misspelt or of another type."""

import re

from form import FAILURE, USAGE, Case

OPTION = re.compile(r"^ +(--[a-z-]+) (TEXT|INT|UINT|FLOAT)(:\S+(?: in \[\S+ - \S+\])?)?(.*)$", re.M)
FLAG = re.compile(r"^ +(?:-h,)?(--[a-z-]+)", re.M)
POSITIONAL = re.compile(r"^  ([a-z]+) TEXT( \.\.\.)?( REQUIRED)?", re.M)


def without(arguments, option):
    """The arguments without an option and its value."""
    if option not in arguments:
        return arguments
    at = arguments.index(option)
    return arguments[:at] + arguments[at + 2 :]


def wrong_values(kind, check):
    if check and check.startswith(":{"):
        yield "maybe"
    elif kind == "TEXT":
        return
    else:
        yield "abc"
        if check and not check.startswith(":SIZE"):
            yield "-1"
            yield "1e400"


def option_cases(help_text, good):
    """`good`: arguments that the command takes."""
    flags = FLAG.findall(help_text)
    yield Case("unknown option", [*good, "--zzzzzz"], USAGE, ("--zzzzzz",))
    near = flags[-1]
    yield Case(f"{near[:-1]} for {near}", [*good, near[:-1]], USAGE, (f"{near[:-1]}", near))
    for number, (option, kind, check, rest) in enumerate(OPTION.findall(help_text)):
        others = without(good, option)
        if number % 4 == 0:
            yield Case(f"{option} at the end", [*others, option], USAGE, (option,))
        for value in wrong_values(kind, check):
            # A number that may be negative would be taken for an option behind a blank.
            yield Case(f"{option}={value}", [*others, f"{option}={value}"], USAGE, (option, value))
        if "REQUIRED" in rest:
            yield Case(f"no {option}", others, USAGE, (option,))
    positionals = POSITIONAL.findall(help_text)
    if not any(many for _, many, _ in positionals):
        yield Case("one argument more", [*good, "superfluous"], USAGE, ("superfluous",))
    if any(required for _, _, required in positionals):
        yield Case("no argument", [], USAGE)


def misuse_cases(world):
    good = [world["dict"], "--data", world["shards"], "--out", "OUT"]
    for arguments, status, says in [
        ([*good, "--tasks", "coer"], USAGE, ("coer", "core")),
        ([*good, "--tasks", "splice"], USAGE, ("splice", "--model")),
        ([*good, "--null", "radnom"], USAGE, ("radnom", "random")),
        ([*good, "--null-dictionary", "frozen"], USAGE, ("--null-dictionary", "frozen")),
        ([*good, "--null-dictionary", "frozen_decoder=/none"], FAILURE, ("/none",)),
        ([*good, "--set", "eval.seeds=1"], USAGE, ("--set", "--config")),
        ([world["dict"], *good], USAGE, ("dict", "once")),
        (good[1:], USAGE, ("dictionary",)),
        ([world["dict"], "--out", "OUT"], USAGE, ("--data",)),
        ([world["dict"], "--data", world["shards"]], USAGE, ("--out",)),
    ]:
        yield "eval", Case(" ".join(map(str, arguments)), arguments, status, says)
    for arguments, says in [
        (["step", "--k", "9", "--latents", "8"], ("--k", "9", "8")),
        (["stpe"], ("stpe", "step")),
        (["topk", "--device", "cuda"], ("cuda",)),
    ]:
        yield "bench", Case(" ".join(arguments), arguments, USAGE, says)
    for arguments, says in [
        (["--kind", "toi", "--out", "OUT"], ("--kind", "toi")),
        (["--set", "n=0", "--out", "OUT"], ("n", "0")),
        ([], ("--out",)),
    ]:
        yield "synthesize", Case(" ".join(arguments), arguments, USAGE, says)
