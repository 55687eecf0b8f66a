# Rules for Snakemake 8 or later: a job for each participant, then the group tables.
#
#   snakemake --snakefile ihf_harmony.smk --config bids=/data/study out=/data/study-harmonized --cores 8
#   snakemake ... --executor slurm --jobs 100                                  # as Slurm jobs
#   snakemake ... --config ... image=ihf-harmony.sif --software-deployment-method apptainer
#
# A participant is finished when the log of the run says so: what is complete is skipped by
# ihf-harmony itself, so a job that is run again does what is left.  Exit code 1 means that some image
# failed while the others are complete; the job fails, and --keep-going lets the others run.

from pathlib import Path

BIDS = Path(config["bids"])
OUT = Path(config["out"])
TARGET = config.get("target", "Siemens")
OPTIONS = config.get("options", "")
PARTICIPANTS = config.get("participants") or sorted(
    path.name.removeprefix("sub-") for path in BIDS.glob("sub-*") if path.is_dir()
)


rule all:
    input:
        OUT / "group.html",


rule participant:
    input:
        BIDS / "sub-{participant}",
    output:
        OUT / "sub-{participant}.html",
    params:
        bids=BIDS, out=OUT, target=TARGET, options=OPTIONS,
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    container:
        config.get("image")
    shell:
        "ihf-harmony {params.bids} {params.out} participant --participant-label {wildcards.participant} "
        "--target {params.target} --n-procs {threads} --skip-bids-validation "
        "--work-dir {resources.tmpdir}/ihf-{wildcards.participant} {params.options}"


rule group:
    input:
        expand(OUT / "sub-{participant}.html", participant=PARTICIPANTS),
    output:
        OUT / "group.html",
    params:
        bids=BIDS, out=OUT,
    resources:
        mem_mb=4000,
        runtime=30,
    container:
        config.get("image")
    shell:
        "ihf-harmony {params.bids} {params.out} group"
