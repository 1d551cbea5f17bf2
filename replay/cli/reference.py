"""The command line as a page of documentation: ``python -m replay.cli.reference > docs/cli.md``."""

from __future__ import annotations

import re

import typer.main


def reference() -> str:
    """Markdown of every command with its arguments, options and examples; a test keeps docs/cli.md equal to it."""
    from replay.cli import app

    group = typer.main.get_command(app.app)
    out = ["# Commands", "", "Made from the command line itself; `replay COMMAND --help` says the same.", ""]
    out += _commands("", group)
    return "\n".join(out).rstrip() + "\n"


def _commands(before: str, group) -> list[str]:
    out = []
    for name, command in sorted(group.commands.items()):
        inner = hasattr(command, "commands")
        out += _commands(f"{before}{name} ", command) if inner else _command(before + name, command)
    return out


def _command(name: str, command) -> list[str]:
    text, _, examples = (command.help or "").partition("Examples:")
    what = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["replay", name, *(_metavar(a) for a in arguments)])
    out = [f"## `{usage}`", "", *(line for part in what for line in (part, ""))]
    if arguments or options:
        out += ["| | | default |", "|---|---|---|"]
        out += [f"| `{_metavar(a)}` | {_cell(a.help)} | |" for a in arguments]
        out += [f"| {_names(o)} | {_cell(o.help)} | {_default(o)} |" for o in options]
        out.append("")
    if examples.strip():
        out += [*(f"    {line.strip()}" for line in examples.splitlines() if line.strip()), ""]
    return out


def _metavar(parameter) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[]")
    return name if parameter.required else f"[{name}]"


def _names(option) -> str:
    taken = "" if option.is_flag else f" {(option.metavar or option.name).upper().strip('_')}"
    return ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts]) + (f" `{taken.strip()}`" if taken else "")


def _default(option) -> str:
    shown = option.show_default
    if isinstance(shown, str):
        return f"`{shown}`"
    value = option.default
    value = getattr(value, "value", value)
    return f"`{value}`" if shown and value not in (None, False, ()) and not callable(value) else ""


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
