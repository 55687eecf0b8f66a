"""The subcommands of ``ihf`` that belong to the laboratory."""
