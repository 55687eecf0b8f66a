"""The parser of ``ihf-harmony``: every spelling, every refusal."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bids_ihf.cli.parse import parse
from bids_ihf.config import RunConfig, to_toml

LEVEL = ["participant", "--target", "Siemens"]


def config(dataset: Path, *options: str) -> RunConfig:
    return parse([str(dataset), str(dataset.parent / "out"), *LEVEL, *options])


def test_defaults(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    defaults = config(dataset)
    assert defaults.n_procs == 3
    assert defaults.modalities == ("T1w", "T2w", "FLAIR", "dwi")
    assert defaults.work_dir == Path.cwd() / "work"
    assert defaults.device == "auto"
    assert defaults.normalization == "rigid"
    assert defaults.participant_label == ()


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--participant-label", "sub-01", "02"], "participant_label", ("01", "02")),
        (["--participant_label", "01"], "participant_label", ("01",)),
        (["--participant-labels", "01"], "participant_label", ("01",)),
        (["--session-label", "ses-A", "B"], "session_label", ("A", "B")),
        (["--session_label", "A"], "session_label", ("A",)),
        (["--session-id", "A"], "session_label", ("A",)),
        (["-m", "t1W", "DWI"], "modalities", ("T1w", "dwi")),
        (["--modalities", "T2w"], "modalities", ("T2w",)),
        (["--skip-bids-validation"], "skip_bids_validation", True),
        (["--skip_bids_validation"], "skip_bids_validation", True),
        (["--output-spaces", "MNI152NLin2009aSym"], "output_spaces", ("MNI152NLin2009aSym",)),
        (["--output_spaces"], "output_spaces", ()),
        (["--normalization", "syn"], "normalization", "syn"),
        (["--n-procs", "2"], "n_procs", 2),
        (["--n_procs", "2"], "n_procs", 2),
        (["--nprocs", "2"], "n_procs", 2),
        (["--n-cpus", "2"], "n_procs", 2),
        (["--n_cpus", "2"], "n_procs", 2),
        (["--nthreads", "2"], "n_procs", 2),
        (["--omp-nthreads", "2"], "omp_nthreads", 2),
        (["--omp_nthreads", "2"], "omp_nthreads", 2),
        (["--mem", "8G"], "mem_gb", 8.0),
        (["--mem-mb", "2048"], "mem_gb", 2.0),
        (["--mem_mb", "1024"], "mem_gb", 1.0),
        (["--device", "cpu"], "device", "cpu"),
        (["--batch-size", "4"], "batch_size", 4),
        (["--batch_size", "4"], "batch_size", 4),
        (["--preprocessed"], "preprocessed", True),
        (["--source-vendor", "GE"], "source_vendor", "GE"),
        (["--source-profile", __file__], "source_profile", Path(__file__)),
        (["--model", __file__], "model", Path(__file__)),
        (["--source_vendor", "GE"], "source_vendor", "GE"),
        (["--stop-on-first-crash"], "stop_on_first_crash", True),
        (["--stop_on_first_crash"], "stop_on_first_crash", True),
        (["--reports-only"], "reports_only", True),
        (["--dry-run"], "dry_run", True),
        (["--random-seed", "7"], "random_seed", 7),
        (["--random_seed", "7"], "random_seed", 7),
        (["-vv"], "verbose", 2),
    ],
)
def test_spelling(dataset: Path, words: list[str], field: str, value: object) -> None:
    assert getattr(config(dataset, *words), field) == value


@pytest.mark.parametrize("name", ["-w", "--work-dir", "--work_dir"])
def test_work_dir(dataset: Path, name: str) -> None:
    assert config(dataset, name, str(dataset.parent / "w")).work_dir == dataset.parent / "w"


@pytest.mark.parametrize("name", ["--bids-database-dir", "--bids_database_dir"])
def test_database_dir(dataset: Path, name: str) -> None:
    assert config(dataset, name, str(dataset.parent)).bids_database_dir == dataset.parent


@pytest.mark.parametrize("name", ["--bids-filter-file", "--bids_filter_file"])
def test_filter_file(dataset: Path, name: str) -> None:
    file = dataset / "dataset_description.json"
    assert config(dataset, name, str(file)).bids_filter_file == file


@pytest.mark.parametrize("name", ["--use-plugin", "--nipype-plugin-file"])
def test_plugin_file(dataset: Path, name: str) -> None:
    file = dataset / "dataset_description.json"
    assert config(dataset, name, str(file)).use_plugin == file


@pytest.mark.parametrize("prefix", ["", "fmriprep="])
def test_derivatives(dataset: Path, prefix: str) -> None:
    assert config(dataset, "-d", f"{prefix}{dataset}").derivatives == (dataset,)


def test_notrack_does_nothing(dataset: Path) -> None:
    assert not hasattr(config(dataset, "--notrack"), "notrack")


def test_label_file(dataset: Path) -> None:
    labels = dataset.parent / "labels.txt"
    labels.write_text("sub-01\n02\n")
    assert config(dataset, "--participant-label", str(labels)).participant_label == ("01", "02")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--device", "gpu"], "none of auto, cpu, cuda"),
        (["--device", "cuda:99"], "not available"),
        (["--mem", "lots"], "amount of memory"),
        (["--mem", "8"], "write 8G"),
        (["--source-vendor", "Simens"], "no vendor that is known"),
        (["--n-procs", "0"], "above zero"),
        (["--modalities", "bold"], "none of T1w"),
        (["--participant-label", "a_b"], "BIDS label"),
        (["--derivatives", "/no/such/folder"], "no such folder"),
        (["--bids-filter-file", "/no/such/file"], "no such file"),
        (["--output-spaces", "fsaverage"], "invalid choice"),
        (["--config-file", "/no/such/file"], "--config-file"),
        (["--no-such-option"], "unrecognized"),
    ],
)
def test_refusal(
    dataset: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        config(dataset, *words)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{bids}", "{bids}", "participant", "--target", "GE"], "OUT_DIR is BIDS_DIR"),
        (["{bids}", "{bids}/sub-01/..", "participant", "--target", "GE"], "OUT_DIR is BIDS_DIR"),
        (
            ["{bids}", "{out}", "participant", "--target", "GE", "-w", "{bids}/w"],
            "inside BIDS_DIR",
        ),
        (["{out}/none", "{out}", "participant", "--target", "GE"], "no such folder"),
        (["{bids}", "{out}", "participant"], "--target is needed"),
        (["{bids}", "{out}", "session"], "invalid choice"),
    ],
)
def test_places(
    dataset: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.format(bids=dataset, out=dataset.parent / "out") for word in words]
    with pytest.raises(SystemExit) as end:
        parse(filled)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


def test_target_not_needed(dataset: Path) -> None:
    out = str(dataset.parent / "out")
    assert parse([str(dataset), out, "group"]).target is None
    assert parse([str(dataset), out, "participant", "--reports-only"]).target is None


def test_link_to_input_is_refused(dataset: Path) -> None:
    link = dataset.parent / "link"
    link.symlink_to(dataset)
    with pytest.raises(SystemExit):
        parse([str(dataset), str(link), *LEVEL])


class TestConfigFile:
    def test_round_trip(self, dataset: Path) -> None:
        first = config(
            *(dataset, "--participant-label", "01", "--mem", "3G", "--n-procs", "2"),
            *("--normalization", "affine", "--preprocessed", "-w", str(dataset.parent / "w")),
        )
        file = dataset.parent / "config.toml"
        file.write_text(to_toml(first, target_hash="x"))
        again = parse(
            [str(dataset), str(dataset.parent / "out"), "participant", "--config-file", str(file)]
        )
        for field in ("target", "participant_label", "mem_gb", "n_procs", "normalization"):
            assert getattr(again, field) == getattr(first, field)
        assert again.preprocessed
        assert again.work_dir == dataset.parent / "w"
        assert again.run_uuid != first.run_uuid

    def test_a_target_file_is_found_from_another_folder(
        self, dataset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(dataset.parent)
        Path("site.safetensors").write_bytes(b"not read here")
        first = config(dataset, "--target", "site.safetensors")
        content = tomllib.loads(to_toml(first))
        assert content["options"]["target"] == str(dataset.parent / "site.safetensors")
        assert tomllib.loads(to_toml(config(dataset)))["options"]["target"] == "Siemens"

    def test_explicit_options_win(self, dataset: Path) -> None:
        file = dataset.parent / "config.toml"
        file.write_text('n-procs = 2\nmem = "1G"\n'.replace("mem ", "mem_gb ") + 'target = "GE"\n')
        mixed = config(dataset, "--config-file", str(file), "--mem", "2G")
        assert mixed.target == "Siemens"
        assert mixed.mem_gb == 2.0
        assert mixed.n_procs == 2

    def test_reads_as_if_typed(self, dataset: Path) -> None:
        file = dataset.parent / "config.toml"
        (dataset.parent / "labels.txt").write_text("sub-01\n02\n")
        file.write_text(
            f'participant-label = "{dataset.parent}/labels.txt"\nmodalities = ["t1W"]\n'
            'session_label = ["ses-A", "A"]\nmem_gb = "2048"\nverbose = 2\ndevice = "cpu"\n'
        )
        read = config(dataset, "--config-file", str(file))
        assert read.participant_label == ("01", "02")
        assert read.session_label == ("A",)
        assert read.modalities == ("T1w",)
        assert read.mem_gb == 2.0
        assert read.verbose == 0
        assert read.device == "cpu"

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("no_such = 1\n", "unknown setting no_such"),
            ("not toml", "not a readable TOML"),
            ('normalization = "none"\n', "none of"),
            ('modalities = ["bold"]\n', "none of T1w"),
            ('modalities = "bold"\n', "none of T1w"),
            ('preprocessed = "no"\n', "neither true nor false"),
            ("[options.target]\na = 1\n", "a table is given instead of a single value"),
            ('target = ["GE"]\n', "a list is given instead of a single value"),
            ("batch_size = true\n", "a truth value is given instead of a single value"),
            ("options = 1\n", "not a table"),
            ('n_procs = "many"\n', "config.toml: 'many'"),
            ('random_seed = "many"\n', "config.toml: 'many'"),
            ('participant_label = ["a_b"]\n', "BIDS label"),
        ],
    )
    def test_refusal(
        self, dataset: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = dataset.parent / "config.toml"
        file.write_text(text)
        with pytest.raises(SystemExit) as end:
            config(dataset, "--config-file", str(file))
        assert end.value.code == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "refused"),
    [("out", True), ("sub-01/out", True), ("derivatives/out", False), ("../bids-out", False)],
)
def test_output_among_the_raw_data(
    dataset: Path, out: str, refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(dataset), str(dataset / out), "participant", "--target", "GE"]
    words += ["-w", str(dataset.parent / "work")]
    if not refused:
        assert parse(words).out_dir == dataset / out
        return
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 2
    assert "among the raw data" in capsys.readouterr().err
