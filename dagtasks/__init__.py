"""dagtasks: tasks as YAML files in Git, workflows on Dagger, a static board."""

__version__ = "0.1.0"
