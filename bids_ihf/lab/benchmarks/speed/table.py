"""The Markdown tables of docs/performance.md, from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.lab.benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BEGIN_MARK, END_MARK = "<!-- speed: begin -->", "<!-- speed: end -->"
"""Lines of a page between which the tables are written."""


@frozen
class Goal:
    """A bound of a number: an upper one, or a lower one if ``is_minimum``.

    ``key`` is where the number is in the results, or several joined by " + ", which are added.
    """

    quantity: str
    key: str
    bound: float
    unit: str
    is_minimum: bool = False

    def row(self, results: Mapping[str, Any]) -> tuple[str, str, str, str]:
        """Quantity, goal, measurement, and whether it is met."""
        value = sum(_value_at(results, key) for key in self.key.split(" + "))
        met = value >= self.bound if self.is_minimum else value <= self.bound
        sign = "at least" if self.is_minimum else "at most"
        measured = f"{value:.3g} {self.unit}"
        return (
            self.quantity,
            f"{sign} {self.bound:g} {self.unit}",
            measured,
            "yes" if met else "no",
        )


CPU_GOALS = (
    Goal("network, a volume", "network_s_per_volume", 14, "s"),
    Goal("authors' layout over ours", "authors_layout_over_network", 20, "times", is_minimum=True),
    Goal("bias field (N4) and registration", "stages.n4_s + stages.registration_s", 8, "s"),
    Goal("compressing and writing an image", "stages.compression_and_writing_s", 1, "s"),
    Goal("participant with a T1w", "participant_T1w_s", 25, "s"),
    Goal("its memory", "participant_peak_pss_gib", 1.8, "GiB"),
    Goal("participant with T1w, T2w, 30 directions", "participant_T1w_T2w_dwi_s", 50, "s"),
    Goal("start-up, `ihf-harmony --version`", "starts.ihf_harmony_version_s", 1, "s"),
)
GPU_GOALS = (
    Goal("network, a volume, with transfers", "network_s_per_volume", 0.5, "s"),
    Goal("its memory on the GPU", "memory_gib", 8, "GiB"),
)
LAYOUT_NAMES = (
    ("ours", "network"),
    ("authors' layout, 30/120/480", "authors_layout"),
    ("Hierarchy Flow's layout, 30/120", "hierarchyflow_layout"),
)


def _value_at(results: Mapping[str, Any], key: str) -> float:
    value: Any = results
    for name in key.split("."):
        value = value[name]
    return float(value)


def layout_table(results: Mapping[str, Any]) -> str:
    """The three layouts side by side."""
    rows = []
    for label, name in LAYOUT_NAMES:
        seconds = results[f"{name}_s_per_volume"]
        operations = results[f"{name}_gigamultiplyadds_per_volume"]
        ratio = results[f"{name}_over_network"] if name != "network" else 1.0
        rows.append((label, f"{seconds:.3g} s", f"{operations:,.0f}", f"{ratio:.3g}"))
    return markdown_table(("layout", "a volume", "multiply-adds (10^9)", "times ours"), rows)


def limit_table(limit: Mapping[str, Any]) -> str:
    """The network compared to the machine's peak rates."""
    rows = (
        (
            "arithmetic",
            f"{limit['network_gigamultiplyadds']:,.0f} x 10^9 multiply-adds",
            f"{limit['matrix_gigamultiplyadds_per_s']:,.0f} x 10^9 a second",
            f"{limit['arithmetic_alone_s']:.3g} s",
            f"{100 * limit['fraction_of_matrix_throughput']:.0f} %",
        ),
        (
            "memory",
            f"{limit['network_gigabytes_moved']:,.0f} GB",
            f"{limit['memory_gigabytes_per_s']:.3g} GB a second",
            f"{limit['memory_alone_s']:.3g} s",
            f"{100 * limit['fraction_of_memory_bandwidth']:.0f} %",
        ),
    )
    head = ("", "the network, a volume", "the machine's peak", "alone", "fraction of the time")
    return markdown_table(head, rows)


def stage_table(stages: Mapping[str, float]) -> str:
    """The stages in the order of a run."""
    rows = [
        (name.removesuffix("_s").replace("_", " "), f"{seconds:.2f} s")
        for name, seconds in stages.items()
    ]
    return markdown_table(("stage", "median"), rows)


def growth_table(rows: Iterable[Mapping[str, float]]) -> str:
    """Time and memory by the number of images."""
    cells = [
        (
            f"{row['images']:.0f}",
            f"{row['s']:.0f} s",
            f"{row['s'] / row['images']:.2f} s",
            f"{row['peak_pss_gib']:.2f} GiB",
        )
        for row in rows
    ]
    return markdown_table(("images", "time", "time for each", "memory"), cells)


def quantity_table(quantity: str, unit: str, rows: Iterable[Mapping[str, float]]) -> str:
    """Time and memory of one image by its size."""
    cells = [
        (
            f"{row[quantity]:.3g}",
            f"{row['s']:.1f} s",
            f"{row['cpu_s']:.1f} s",
            f"{row['peak_pss_gib']:.2f} GiB",
        )
        for row in rows
    ]
    return markdown_table((unit, "time", "of all processors", "memory"), cells)


def goal_table(goals: Iterable[Goal], results: Mapping[str, Any]) -> str:
    """Goals and measurements."""
    rows = [goal.row(results) for goal in goals]
    return markdown_table(("what", "goal", "measured", "met"), rows)


def overlap_line(gpu: Mapping[str, Any]) -> str:
    """Several participants in one run on the GPU."""
    idle = gpu["overlapped_gpu_idle_fraction"]
    seen = "was not seen" if idle is None else f"was idle for {100 * idle:.0f} % of it"
    run = f"{gpu['overlapped_participants']} participants in one run"
    return f"{run}: {gpu['overlapped_participants_s']:.0f} s; the GPU {seen}.\n"


def page(results: Mapping[str, Any]) -> str:
    """All tables of a run."""
    machine, cpu = results["machine"], results["cpu"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "antspyx", "numpy"))
    hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    all_s, single_s = cpu["index_all_s"], cpu["index_one_of_them_s"]
    dataset = f"T1w and T2w of {cpu['index_people']:,} subjects"
    sections = [
        f"{hardware}; {versions}; `{results['command']}`.\n",
        f"**Goals**\n\n{goal_table(CPU_GOALS, cpu)}",
        f"**Layouts**\n\n{layout_table(cpu)}",
        f"**Against the limit**\n\n{limit_table(cpu['limit'])}",
        f"**Stages of a T1w scan**\n\n{stage_table(cpu['stages'])}",
        f"**Many small images**\n\n{growth_table(cpu['growth'])}",
        "**A larger T1w**\n\n"
        + quantity_table("megavoxels", "million voxels", cpu["growth_by_voxels"]),
        "**A longer diffusion series**\n\n"
        + quantity_table("directions", "directions", cpu["growth_by_directions"]),
        f"Finding and planning {dataset}: {all_s:.0f} s; those of one: {single_s:.1f} s.\n",
    ]
    if "gpu" in results:
        gpu = results["gpu"]
        sections += [
            f"**{gpu['name']}**\n\n{goal_table(GPU_GOALS, gpu)}",
            layout_table(gpu),
            limit_table(gpu["limit"]),
            overlap_line(gpu),
        ]
    return "\n".join(sections).rstrip("\n")


def replace_tables(text: str, path: Path) -> None:
    """Replace the tables of a page between its marks, if it has them."""
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = content.partition(BEGIN_MARK)
    _, end_mark, after = rest.partition(END_MARK)
    if begin and end_mark:
        new = f"{before}{BEGIN_MARK}\n{text}\n{END_MARK}{after}"
        path.write_text(new, encoding="utf-8")
