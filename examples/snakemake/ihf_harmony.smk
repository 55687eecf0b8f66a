# Rules for Snakemake 8 or later: a job for each participant, then the group tables.
#
#   snakemake --snakefile ihf_harmony.smk --config bids=/data/study out=/data/study-harmonized --cores 8
#   snakemake ... --executor slurm --jobs 100                                  # as Slurm jobs
#   snakemake ... --config ... image=$PWD/ihf-harmony.sif --software-deployment-method apptainer \
#       --apptainer-args "--cleanenv -B /data"
#
# More of --config: target=GE, "participants=[01,02]", "options=--modalities T1w --session-label 1".
#
# A participant is finished when its page is written.  What is complete is skipped by ihf-harmony
# itself, so a job that is run again does what is left.  Exit code 1 means that some image failed
# while the others are complete; the job fails, and --keep-going lets the others run.

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
        # Intermediate files stay on the node's own disk and go with the job.
        "work=$(mktemp -d {resources.tmpdir}/ihf-harmony.XXXXXX); trap 'rm -rf \"$work\"' EXIT; "
        "ihf-harmony {params.bids} {params.out} participant --participant-label {wildcards.participant} "
        "--target {params.target} --n-procs {threads} --skip-bids-validation "
        "--work-dir \"$work\" {params.options}"


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
