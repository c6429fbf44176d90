"""Completions for bash, zsh and fish."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from verbs import SETTINGS, WORDS, Option, Takes, Verb

HEAD = "# Made from the command line by packaging/build.py."


# bash -----------------------------------------------------------------------------------------------------


def bash(program: Verb) -> str:
    """Write a function that looks up the verb so far and offers what may follow."""
    known = "|".join(shlex.quote(" ".join(verb.words)) for verb in program.all() if verb.words)
    cases = "\n".join(line for verb in program.all() for line in _bash_verb(verb))
    return f"""{HEAD}
_musicfs() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} verb= word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{verb:+$verb }}$word" in
            {known}) verb="${{verb:+$verb }}$word" ;;
        esac
    done
    COMPREPLY=()
    case $verb in
{cases}
    esac
}}
_musicfs_files() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}}
_musicfs_words() {{
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}}
complete -F _musicfs musicfs
"""


def _bash_verb(verb: Verb) -> Iterator[str]:
    yield f"        {shlex.quote(' '.join(verb.words))})"
    valued = [option for option in verb.options if option.takes is not Takes.NOTHING]
    if valued:
        yield "            case $prev in"
        for option in valued:
            yield f"                {'|'.join(option.names)}) {_bash_value(option.takes)}; return ;;"
        yield "            esac"
    words = [name for option in verb.options for name in option.names] + [one.name for one in verb.verbs]
    files = {Takes.FILE: "-f", Takes.FOLDER: "-d"}.get(verb.takes)
    if files:
        yield f"            if [[ $cur != -* ]]; then _musicfs_files {files}; return; fi"
    yield f"            _musicfs_words {shlex.quote(' '.join(words))} ;;"


def _bash_value(takes: Takes) -> str:
    match takes:
        case Takes.FILE:
            return "_musicfs_files -f"
        case Takes.LEVEL | Takes.FORMAT:
            return f"_musicfs_words {shlex.quote(WORDS[takes])}"
        case Takes.SETTING:
            return f"compopt -o nospace 2>/dev/null; _musicfs_words {shlex.quote(_settings(' '))}"
    return ":"


# zsh ------------------------------------------------------------------------------------------------------


def zsh(program: Verb) -> str:
    """Write one function a verb, each with its `_arguments`."""
    functions = "\n".join(_zsh_verb(verb) for verb in program.all())
    return f'#compdef musicfs\n{HEAD}\n{functions}\n_musicfs "$@"\n'


def _zsh_name(verb: Verb) -> str:
    return "_".join(("_musicfs", *verb.words))


def _zsh_verb(verb: Verb) -> str:
    lines = [f"    {_zsh_option(option)} \\" for option in verb.options]
    if verb.verbs:
        said = " ".join(shlex.quote(f"{one.name}:{one.says}") for one in verb.verbs)
        calls = "\n".join(f"        {one.name}) {_zsh_name(one)} ;;" for one in verb.verbs)
        return (
            f"{_zsh_name(verb)}() {{\n  local state line\n  local -a verbs=({said})\n  _arguments -C \\\n"
            + "\n".join(lines)
            + "\n    '1:command:->verb' '*::argument:->rest'\n"
            + "  case $state in\n    verb) _describe command verbs ;;\n    rest)\n      case $line[1] in\n"
            + f"{calls}\n      esac ;;\n  esac\n}}"
        )
    arguments = {Takes.FILE: "'*:file:_files'", Takes.FOLDER: "'1:folder:_files -/'"}
    lines.append(f"    {arguments.get(verb.takes, '')}".rstrip())
    body = "\n".join(lines).rstrip("\\\n ")
    return f"{_zsh_name(verb)}() {{\n  _arguments \\\n{body}\n}}"


def _zsh_option(option: Option) -> str:
    says = option.says.replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    value = {
        Takes.NOTHING: "",
        Takes.FILE: ":file:_files",
        Takes.FOLDER: ":folder:_files -/",
        Takes.LEVEL: f":level:({WORDS[Takes.LEVEL]})",
        Takes.FORMAT: f":format:({WORDS[Takes.FORMAT]})",
        Takes.SETTING: f":setting:({_settings(' ')})",
        Takes.OTHER: f":{option.metavar.lower()}:",
    }[option.takes]
    star = "*" if option.often else ""
    return " ".join(shlex.quote(f"{star}{name}[{says}]{value}") for name in option.names)


# fish -----------------------------------------------------------------------------------------------------


def fish(program: Verb) -> str:
    """Write one line for each word that may follow."""
    return "\n".join((HEAD, "complete -c musicfs -f", *_fish_verb(program))) + "\n"


def _fish_verb(verb: Verb) -> Iterator[str]:
    seen = [f"__fish_seen_subcommand_from {word}" for word in verb.words]
    below = " ".join(one.name for one in verb.verbs)
    if below:
        seen.append(f"not __fish_seen_subcommand_from {below}")
    when = f"complete -c musicfs -n {shlex.quote('; and '.join(seen))}"
    for option in verb.options:
        yield f"{when} {_fish_option(option)} -d {_fish_text(option.says)}"
    for one in verb.verbs:
        yield f"{when} -a {one.name} -d {_fish_text(one.says)}"
    if verb.takes is Takes.FILE:
        yield f"{when} -F"
    elif verb.takes is Takes.FOLDER:
        yield f"{when} -a '(__fish_complete_directories)'"
    for one in verb.verbs:
        yield from _fish_verb(one)


def _fish_option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    match option.takes:
        case Takes.NOTHING:
            return names
        case Takes.FILE:
            return f"{names} -r -F"
        case Takes.LEVEL | Takes.FORMAT:
            return f"{names} -x -a {_fish_text(WORDS[option.takes])}"
        case Takes.SETTING:
            return f"{names} -x -a {_fish_text(_settings(' '))}"
    return f"{names} -x"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _settings(between: str) -> str:
    return between.join(f"{key}=" for key in SETTINGS)
