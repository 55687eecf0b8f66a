"""The files at the root of the simulated study."""

from __future__ import annotations

import json

from bids_ihf.version import __version__

README_TEMPLATE = """# Simulated traveling subjects

{subjects} simulated people, each scanned once on a simulated Siemens, GE and Philips scanner
(sessions `ses-siemens`, `ses-ge`, `ses-philips`), a T1w, a T2w and a FLAIR image each,
{zoom:g} mm, and a small diffusion series (two b 0 volumes; 12 directions at b 1000 and at b 2000,
or 15 at b 1000).
Nobody was scanned. What differs between the sessions of a person is the scanner and the position
of the head, so the dataset shows what harmonization should take away.

- Anatomy: the grey and white matter maps of the MNI152 average (ICBM 2009a),
  deformed at random for each person; skull, scalp, face and eyes are drawn around it.
- Images: signal equations of inversion-prepared gradient-echo trains (T1w) and of trains of spin
  echoes without (T2w) and with an inversion that nulls CSF (FLAIR), with a typical research
  protocol of each vendor at 3 T from public sidecars, coil sensitivities, transmit field, blur,
  zero-filling, noise, and the range of numbers of each vendor. The Philips
  T2w images have slices twice as thick; the axes of the stored arrays differ between vendors.
- Diffusion: the NODDI model along smooth fields of fibres, through spin-echo EPI whose b-values
  act some per cent off the nominal ones, with each vendor's echo time, blur, noise floor and a
  little distortion.

Written by ihf-harmony {version}. The ICBM 152 atlas is copyright 1993-2009 Louis Collins,
McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University.
"""


def dataset_files(subjects: int, zoom: float) -> dict[str, str]:
    """Return the names and texts of the files beside the subjects' folders."""
    description = {
        "Name": "Simulated traveling subjects",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "Authors": ["The ihf-harmony developers"],
        "GeneratedBy": [
            {
                "Name": "ihf-harmony",
                "Version": __version__,
                "Description": "ihf demo-data: simulated images; nobody was scanned.",
            }
        ],
    }
    columns = {"simulated": {"Description": "Whether the person exists only as a simulation"}}
    rows = "".join(f"sub-{subject:02d}\ttrue\n" for subject in range(1, subjects + 1))
    return {
        "dataset_description.json": json.dumps(description, indent=2) + "\n",
        "participants.json": json.dumps(columns, indent=2) + "\n",
        "participants.tsv": "participant_id\tsimulated\n" + rows,
        "README.md": README_TEMPLATE.format(subjects=subjects, zoom=zoom, version=__version__),
    }
