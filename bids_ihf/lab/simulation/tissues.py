"""Relaxation times and proton density of the tissues of the head at 1.5 T and 3 T.

The numbers are rounded between these sources, which differ among themselves by ten to thirty
per cent (grey matter at 3 T: 1331 ms in Wansapura, 1607 ms in Wright, 1820 ms in Stanisz):

* Stanisz et al. 2005, Magn Reson Med 54:507 (grey, white, muscle; 1.5 T and 3 T)
* Wansapura et al. 1999, J Magn Reson Imaging 9:531 (grey, white; 3 T)
* Wright et al. 2008, MAGMA 21:121 (grey, white, deep grey; 1.5 T, 3 T and 7 T)
* Rooney et al. 2007, Magn Reson Med 57:308 (T1 against field strength, CSF)
* Bojorquez et al. 2017, Magn Reson Imaging 35:69 (review, 3 T)
* de Bazelaire et al. 2004, Radiology 230:652 (fat; 1.5 T and 3 T)
* Kwan et al. 1999, IEEE Trans Med Imaging 18:1085 (proton densities of the BrainWeb phantom)

Assumptions without a source: vitreous body and skin are modified CSF and muscle; white-matter
lesions lie between the ranges of the multiple-sclerosis literature (T1 near that of grey matter,
T2 about twice that of white matter); the proton density of bone counts only the water that a
gradient echo could still detect; ``enhanced`` is tissue that holds about 0.6 mmol/l of a contrast
agent with a relaxivity of 4.5 /mmol/s.

At other field strengths the times follow the power law through both values, see
`Tissue.relaxation`; it is extrapolated to 0.064 T and 7 T.
"""

from __future__ import annotations

from math import log2

from attrs import frozen


@frozen
class Relaxation:
    """T1 and T2 of a tissue in seconds, and its proton density relative to CSF."""

    t1: float
    t2: float
    density: float


@frozen
class Tissue:
    """One tissue; relaxation times in milliseconds at 1.5 T and 3 T.

    The gains are the relative changes of T1, T2 and proton density where the texture of the
    subject is one standard deviation above its mean.  All are positive, because free water
    raises all three, so the texture darkens T1w images and brightens T2w images.
    """

    name: str
    t1_15: float
    t1_30: float
    t2_15: float
    t2_30: float
    density: float
    t1_gain: float = 0.0
    t2_gain: float = 0.0
    density_gain: float = 0.0

    def relaxation(self, field_strength: float = 3.0, texture: float = 0.0) -> Relaxation:
        """Relaxation at ``field_strength`` (tesla), where the texture is ``texture`` (SD).

        Times follow a power law of the field strength (Bottomley et al. 1984, Med Phys 11:425;
        Rooney et al. 2007) through the values at 1.5 T and 3 T.

        >>> round(tissue("white").relaxation(3.0).t1, 3)
        0.86
        """
        octaves = log2(field_strength / 1.5)
        t1 = self.t1_15 * (self.t1_30 / self.t1_15) ** octaves
        t2 = self.t2_15 * (self.t2_30 / self.t2_15) ** octaves
        return Relaxation(
            t1=t1 / 1000 * (1 + self.t1_gain * texture),
            t2=t2 / 1000 * (1 + self.t2_gain * texture),
            density=self.density * (1 + self.density_gain * texture),
        )


SIMULATED_TISSUES: tuple[Tissue, ...] = (
    Tissue("air", 1000, 1000, 50, 50, 0.0),
    Tissue("grey", 1150, 1450, 98, 93, 0.84, 0.040, 0.045, 0.010),
    Tissue("white", 690, 860, 76, 70, 0.71, 0.040, 0.045, 0.010),
    Tissue("csf", 4200, 4300, 2000, 1800, 1.0, 0.010, 0.040, 0.005),
    Tissue("deep_grey", 1000, 1240, 84, 74, 0.82, 0.035, 0.040, 0.010),
    Tissue("fat", 343, 382, 120, 125, 0.72, 0.060, 0.060, 0.040),
    Tissue("muscle", 1008, 1412, 44, 42, 0.80, 0.080, 0.080, 0.050),
    Tissue("bone", 220, 240, 0.4, 0.4, 0.2),
    Tissue("vitreous", 3800, 4000, 900, 800, 1.0),
    Tissue("skin", 800, 1050, 40, 38, 0.75, 0.080, 0.080, 0.060),
    Tissue("lesion", 1050, 1350, 165, 150, 0.88, 0.050, 0.080, 0.010),
    Tissue("enhanced", 300, 340, 90, 70, 0.85, 0.080, 0.050, 0.020),
)
"""The tissues, in the order of the fractions of an anatomy.

The T2 of fat is that of a train of refocused echoes, longer than the spin-echo 58-68 ms of
de Bazelaire because fast refocusing suppresses the J-coupling of the lipids
(Henkelman et al. 1992, J Magn Reson Imaging 2:533); its density is lowered for the septa.
"""

TISSUE_INDEX: dict[str, int] = {
    tissue.name: index for index, tissue in enumerate(SIMULATED_TISSUES)
}

GREY_MATTER_TISSUES = ("grey", "deep_grey")
"""Tissues that are grey matter."""

MEASURED_TISSUES = (GREY_MATTER_TISSUES, ("white",), ("csf",))
"""Tissues that make up grey matter, healthy white matter and CSF, which images are measured in."""

TEXTURE_STEP_SD = 0.5
"""Step of the finite difference that gives the change of signal with texture, SD."""

MAX_TEXTURE_SD = 3.5
"""Texture is clipped to this range, SD, before it changes the signal."""


def tissue(name: str) -> Tissue:
    """The tissue of a name.

    Raises
    ------
    KeyError
        There is no such tissue.
    """
    return SIMULATED_TISSUES[TISSUE_INDEX[name]]
