"""From a dataset to its derivatives: jobs, workers, the nipype graph, provenance."""
