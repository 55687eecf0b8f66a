"""Subcommands of ``ihf``, one module each: ``add_arguments(parser)`` and ``run(arguments)``."""
