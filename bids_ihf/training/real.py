"""A pool of a user's own scans: unpaired, told apart by scanner manufacturer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bids_ihf.bids.discover import find_images, select_subjects
from bids_ihf.errors import BadData, HarmonyError
from bids_ihf.spatial.prepare import prepare
from bids_ihf.targets.gridding import to_network_grid
from bids_ihf.training.pool import Pool, add_scan, read_index, write_index
from bids_ihf.training.simulated import record_of

if TYPE_CHECKING:
    from bids_ihf.bids.image import Image
    from bids_ihf.training.config import TrainConfig
    from bids_ihf.training.pool import Scan

LOGGER = logging.getLogger(__name__)


def prepare_pool(config: TrainConfig) -> Pool:
    """The pool of a BIDS dataset: read where it is there already, else prepared.

    A scan that cannot be used is left out with a warning.

    Raises
    ------
    BadData
        Fewer than two scanners are left to learn from.
    """
    people = select_subjects(config.data.source, config.data.people)
    record = record_of(config, people)
    pool = read_index(config.data.pool, record)
    if pool is not None:
        return pool
    config.data.pool.mkdir(parents=True, exist_ok=True)
    scans: list[Scan] = []
    for person in people:
        for image in find_images(config.data.source, person, modalities=config.data.modalities):
            scan = _prepare_scan(config, image)
            scans += [scan] if scan else []
        LOGGER.info("Prepared sub-%s", person)
    if len({scan.site for scan in scans}) < 2:
        raise BadData(
            f"{config.data.source}: its usable scans come from fewer than two manufacturers; "
            "training needs two at least."
        )
    return write_index(config.data.pool, scans, record)


def _prepare_scan(config: TrainConfig, image: Image) -> Scan | None:
    name = image.path.name.split(".")[0]
    try:
        prepared = prepare(
            image.path, modality=image.suffix, preprocessed=config.data.preprocessed
        )
        on_grid = to_network_grid(prepared)
    except (HarmonyError, ValueError) as error:
        LOGGER.warning("Left out: %s", error)
        return None
    return add_scan(
        config.data.pool,
        on_grid,
        person=name,
        site=image.vendor,
        vendor=image.vendor,
        modality=image.suffix,
    )
