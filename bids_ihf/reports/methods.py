"""Text for the methods section of a paper, with what to cite."""

from __future__ import annotations

import sys
from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REFERENCES = {
    "IHF": (
        "Zhu P, Zhu Y, Pang H, Qiu A (2026). IHF-Harmony: multi-modality magnetic resonance "
        "images harmonization using invertible hierarchy flow model. arXiv:2602.21536."
    ),
    "HierarchyFlow": (
        "Fan W, Chen J, Liu Z (2023). Hierarchy flow for high-fidelity image-to-image "
        "translation. arXiv:2308.06909."
    ),
    "SynthSeg": (
        "Billot B, Greve DN, Puonti O, Thielscher A, Van Leemput K, Fischl B, Dalca AV, Iglesias "
        "JE (2023). SynthSeg: Segmentation of brain MRI scans of any contrast and resolution "
        "without retraining. Medical Image Analysis 86:102789."
    ),
    "N4": (
        "Tustison NJ, Avants BB, Cook PA, Zheng Y, Egan A, Yushkevich PA, Gee JC (2010). N4ITK: "
        "improved N3 bias correction. IEEE Transactions on Medical Imaging 29(6):1310-1320. "
        "doi:10.1109/TMI.2010.2046908."
    ),
    "ANTs": (
        "Avants BB, Tustison NJ, Song G, Cook PA, Klein A, Gee JC (2011). A reproducible "
        "evaluation of ANTs similarity metric performance in brain image registration. "
        "NeuroImage 54(3):2033-2044. doi:10.1016/j.neuroimage.2010.09.025."
    ),
    "Fonov2009": (
        "Fonov VS, Evans AC, McKinstry RC, Almli CR, Collins DL (2009). Unbiased nonlinear "
        "average age-appropriate brain templates from birth to adulthood. NeuroImage 47(Suppl "
        "1):S102. doi:10.1016/S1053-8119(09)70884-5."
    ),
    "Fonov2011": (
        "Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL (2011). Unbiased "
        "average age-appropriate atlases for pediatric studies. NeuroImage 54(1):313-327. "
        "doi:10.1016/j.neuroimage.2010.07.033."
    ),
    "nipype": (
        "Gorgolewski K, Burns CD, Madison C, Clark D, Halchenko YO, Waskom ML, Ghosh SS (2011). "
        "Nipype: a flexible, lightweight and extensible neuroimaging data processing framework in "
        "Python. Frontiers in Neuroinformatics 5:13. doi:10.3389/fninf.2011.00013."
    ),
    "Noise": (
        "Gudbjartsson H, Patz S (1995). The Rician distribution of noisy MRI data. Magnetic "
        "Resonance in Medicine 34(6):910-914. doi:10.1002/mrm.1910340618."
    ),
    "BIDS": (
        "Gorgolewski KJ, Auer T, Calhoun VD, et al. (2016). The brain imaging data structure, a "
        "format for organizing and describing outputs of neuroimaging experiments. Scientific "
        "Data 3:160044. doi:10.1038/sdata.2016.44."
    ),
    "pybids": (
        "Yarkoni T, Markiewicz CJ, de la Vega A, et al. (2019). PyBIDS: Python tools for BIDS "
        "datasets. Journal of Open Source Software 4(40):1294. doi:10.21105/joss.01294."
    ),
}
PACKAGES = ("antspyx", "nipype", "pybids", "nibabel", "numpy", "torch", "nireports")
CITATION = Path("logs") / "CITATION.md"

_PREPROCESSED = (
    "The images had been bias-corrected, skull-stripped and brought to the orientation of the "
    "template beforehand; their voxels that are not zero were taken as the brain. "
)
_SPATIAL = (
    "The brain and its tissues were found by a convolutional network trained on heads painted "
    "in random contrasts after SynthSeg [SynthSeg]; by its tissues the brain was aligned rigidly "
    "to the template MNI152NLin2009aSym [Fonov2009; Fonov2011] with ANTs [ANTs], T2w images to "
    "the T1w image of their session where there was one. Intensity non-uniformity was estimated "
    "by N4 [N4]. "
)
_EITHER = (
    "Unless the images had been preprocessed beforehand, the brain and its tissues were found by "
    "a convolutional network trained on heads painted in random contrasts after SynthSeg "
    "[SynthSeg], the brain was aligned rigidly to the template MNI152NLin2009aSym [Fonov2009; "
    "Fonov2011] with ANTs [ANTs], and intensity non-uniformity was estimated by N4 [N4]. "
)
_NETWORK = (
    "Grey matter, white matter and fluid were brought to the target's intensities by one curve; "
    "where the vendor of the scanner was known, most of what an image deviated from that vendor's "
    "typical one, within the span of people, was held to be the person's own and left. An "
    "invertible hierarchy flow network after IHF-Harmony [IHF], which builds on Hierarchy Flow "
    "[HierarchyFlow], changed the contrast of what was matched, slice by slice with both "
    "neighbours, conditioned on the target's statistics. Only the change that the network made "
    "was resampled; the original voxels were not, so every harmonized image has the grid of its "
    "source."
)


_DIFFUSION = (
    "Diffusion series were harmonized shell by shell, with the same few numbers for all "
    "directions: the noise floor was taken off the signal expected from spherical harmonics "
    "[Noise], the attenuation of tissue was brought to the target's by one exponent per shell, "
    "the volumes without weighting by one gain curve, and every volume was multiplied by the "
    "ratio of the expected signals after and before. b-tables were left as they were."
)


def paragraphs(targets: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> list[str]:
    """Return the text, with the keys of `REFERENCES` in square brackets.

    Parameters
    ----------
    targets
        Names of the targets; none stands for whatever the sidecars name.
    options
        Options of the run, as its settings file has them; where they are not known the text
        leaves open what depends on them.
    """
    to = " and ".join(targets) or "the target named in the sidecar of each image"
    opening = (
        f"Images organized as a BIDS dataset [BIDS] were harmonized to {to} with ihf-harmony "
        f"{__version__}, which queries the dataset by PyBIDS [pybids] and runs its steps by "
        "Nipype [nipype]. "
    )
    spatial = _EITHER
    if options and "preprocessed" in options:
        spatial = _PREPROCESSED if options["preprocessed"] else _SPATIAL
    anatomical = opening + spatial + _NETWORK + _standard_space(options or {})
    return [anatomical, *_diffusion(options), _software()]


def _diffusion(options: Mapping[str, Any] | None) -> list[str]:
    """The paragraph on diffusion, left out where the options say that there was none."""
    modalities = (options or {}).get("modalities")
    return [_DIFFUSION] if modalities is None or "dwi" in modalities else []


def _standard_space(options: Mapping[str, Any]) -> str:
    if not options.get("output_spaces"):
        return ""
    kind = {"rigid": "a rigid", "affine": "an affine", "syn": "a nonlinear (SyN)"}
    how = kind.get(str(options.get("normalization")), "a")
    return (
        f" Copies of the harmonized images were resampled to MNI152NLin2009aSym by {how} "
        "transform of ANTs [ANTs]."
    )


def _software() -> str:
    versions = [f"Python {sys.version_info.major}.{sys.version_info.minor}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return f"Software: ihf-harmony {__version__}; {', '.join(versions)}."


def _cited(text: str) -> list[str]:
    """Return the keys of the references that a text cites."""
    brackets = [part.split("]")[0] for part in text.split("[")[1:]]
    keys = {key.strip() for bracket in brackets for key in bracket.split(";")}
    return [key for key in REFERENCES if key in keys]


def as_markdown(texts: Sequence[str]) -> str:
    """Return the text and the references it cites as Markdown."""
    references = [f"- [{key}] {REFERENCES[key]}" for key in _cited(" ".join(texts))]
    body = "\n\n".join(texts)
    return f"# Methods\n\n{body}\n\n# References\n\n" + "\n".join(references) + "\n"


def as_html(texts: Sequence[str]) -> str:
    """Return the text and the references it cites as HTML."""
    body = "".join(f"<p>{escape(text)}</p>\n" for text in texts)
    references = "".join(
        f"<li>[{escape(key)}] {escape(REFERENCES[key])}</li>\n" for key in _cited(" ".join(texts))
    )
    return f'{body}<ul class="references">\n{references}</ul>\n'


def write_boilerplate(out_dir: Path) -> Path:
    """Write ``logs/CITATION.md``: the methods of the whole output folder, whatever is in it.

    Participants that end at the same time write the same text, each in one step.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    from bids_ihf.io.atomic import write_atomic

    path = out_dir / CITATION
    content = as_markdown(paragraphs()).encode()
    try:
        unchanged = path.read_bytes() == content
    except OSError:
        unchanged = False
    if not unchanged:
        write_atomic(path, content)
    return path
