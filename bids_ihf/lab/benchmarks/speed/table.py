"""The Markdown tables of docs/performance.md, from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
"""What the command writes stands between these lines of a page."""


@frozen
class Aim:
    """What a number is to be: at most ``bound``, or at least where ``least`` is set."""

    what: str
    key: str
    bound: float
    unit: str
    least: bool = False

    def row(self, found: Mapping[str, Any]) -> tuple[str, str, str, str]:
        """What, aim, measured, and whether it is met."""
        value = _at(found, self.key)
        met = value >= self.bound if self.least else value <= self.bound
        sign = "at least" if self.least else "at most"
        measured = f"{value:.3g} {self.unit}"
        return self.what, f"{sign} {self.bound:g} {self.unit}", measured, "yes" if met else "no"


CPU_AIMS = (
    Aim("network, a volume", "network_s_per_volume", 24, "s"),
    Aim("authors' layout over ours", "authors_layout_over_network", 20, "times", least=True),
    Aim("bias field (N4)", "stages.n4_s", 10, "s"),
    Aim("registration", "stages.registration_s", 10, "s"),
    Aim("compressing and writing an image", "stages.compression_and_writing_s", 1, "s"),
    Aim("participant with a T1w", "participant_T1w_s", 90, "s"),
    Aim("its memory", "participant_peak_rss_gib", 4, "GiB"),
    Aim("participant with T1w, T2w, 30 directions", "participant_T1w_T2w_dwi_s", 360, "s"),
    Aim("start-up, `ihf-harmony --version`", "starts.ihf_harmony_version_s", 1, "s"),
)
GPU_AIMS = (
    Aim("network, a volume, with transfers", "network_s_per_volume", 0.5, "s"),
    Aim("its memory on the GPU", "memory_gib", 8, "GiB"),
)
LAYOUTS = (
    ("ours", "network"),
    ("authors' layout, 30/120/480", "authors_layout"),
    ("Hierarchy Flow's layout, 30/120", "hierarchyflow_layout"),
)


def _at(found: Mapping[str, Any], key: str) -> float:
    value: Any = found
    for part in key.split("."):
        value = value[part]
    return float(value)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def layouts(found: Mapping[str, Any]) -> str:
    """The three layouts beside each other."""
    rows = []
    for words, name in LAYOUTS:
        seconds = found[f"{name}_s_per_volume"]
        work = found[f"{name}_gigamultiplyadds_per_volume"]
        times = found[f"{name}_over_network"] if name != "network" else 1.0
        rows.append((words, f"{seconds:.3g} s", f"{work:,.0f}", f"{times:.3g}"))
    head = ("layout", "a volume", "multiply-adds (10^9)", "times ours")
    return table(head, rows)


def limits(found: Mapping[str, Any]) -> str:
    """The network against the machine."""
    rows = (
        (
            "arithmetic",
            f"{found['network_gigamultiplyadds']:,.0f} x 10^9 multiply-adds",
            f"{found['matrix_gigamultiplyadds_per_s']:,.0f} x 10^9 a second",
            f"{found['arithmetic_alone_s']:.3g} s",
            f"{100 * found['fraction_of_matrix_throughput']:.0f} %",
        ),
        (
            "memory",
            f"{found['network_gigabytes_moved']:,.0f} GB",
            f"{found['memory_gigabytes_per_s']:.3g} GB a second",
            f"{found['memory_alone_s']:.3g} s",
            f"{100 * found['fraction_of_memory_bandwidth']:.0f} %",
        ),
    )
    head = ("", "the network, a volume", "the machine's best", "alone", "share of the time taken")
    return table(head, rows)


def stages(found: Mapping[str, float]) -> str:
    """The stages in the order of a run."""
    rows = [(name.removesuffix("_s").replace("_", " "), f"{s:.2f} s") for name, s in found.items()]
    return table(("stage", "median"), rows)


def growth(rows: Iterable[Mapping[str, float]]) -> str:
    """Time and memory by the number of images."""
    head = ("images", "time", "time for each", "memory")
    cells = (
        (
            f"{row['images']:.0f}",
            f"{row['s']:.0f} s",
            f"{row['s'] / row['images']:.2f} s",
            f"{row['peak_pss_gib']:.2f} GiB",
        )
        for row in rows
    )
    return table(head, cells)


def page(found: Mapping[str, Any]) -> str:
    """All tables of a run."""
    machine, cpu = found["machine"], found["cpu"]
    names = ("torch", "antspyx", "numpy")
    versions = ", ".join(f"{name} {machine[name]}" for name in names)
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    every, one = cpu["index_all_s"], cpu["index_one_of_them_s"]
    people = f"{cpu['index_people']:,} people's T1w and T2w"
    parts = [
        f"{where}; {versions}; `{found['command']}`.",
        "**Aims**",
        table(("what", "aim", "measured", "met"), [aim.row(cpu) for aim in CPU_AIMS]),
        "**Layouts**",
        layouts(cpu),
        "**Against the limit**",
        limits(cpu["limit"]),
        "**Stages of a T1w scan**",
        stages(cpu["stages"]),
        "**Many small images**",
        growth(cpu["growth"]),
        f"Finding and planning {people}: {every:.0f} s; those of one of them: {one:.1f} s.",
    ]
    if "gpu" in found:
        gpu = found["gpu"]
        aims = table(("what", "aim", "measured", "met"), [aim.row(gpu) for aim in GPU_AIMS])
        parts += [f"**{gpu['name']}**", aims, layouts(gpu), limits(gpu["limit"])]
    return "\n\n".join(parts)


def put(text: str, path: Path) -> None:
    """Put tables into a page between its marks, if it has them."""
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
