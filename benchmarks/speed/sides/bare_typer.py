"""A typer application with as many commands that do nothing, asked for its help."""

import typer

app = typer.Typer()


def add(name: str) -> None:
    @app.command(name)
    def command(task: str, json: bool = False, rungs: str = "") -> None:
        """Do nothing with a task."""


for each in ("demo", "init", "check", "run", "report"):
    add(each)
app(["--help"])
