"""Commands: what goes to stdout, what to stderr, and how they end."""

import subprocess
import sys

import numpy as np
import pytest

# The tiny model has OpenAI's tokenizer, which cannot carry the Korean labels that some commands are given.
pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")


def test_classify_prints_one_json_object_a_line_and_goes_on_past_a_bad_picture(anmok, photos, tiny_folder):
    run = anmok("classify", photos, "--labels", "cat,컵", "--model", tiny_folder, "--json")
    assert run.status == 1
    good = [record for record in run.records if "predictions" in record]
    bad = [record for record in run.records if "error" in record]
    assert len(good) == 3
    assert bad[0]["picture"].endswith("bad.jpg")
    for record in good:
        assert {p["label"] for p in record["predictions"]} == {"cat", "컵"}
        assert sum(p["probability"] for p in record["predictions"]) == pytest.approx(1, abs=1e-5)
        assert set(record["predictions"][0]) == {"label", "probability", "score", "match"}


def test_classify_writes_a_page(anmok, photos, tiny_folder, tmp_path):
    page = tmp_path / "page.html"
    run = anmok("classify", photos / "one.png", "-l", "cat,dog", "-m", tiny_folder, "--html", page)
    assert run.status == 0
    assert "one.png" in page.read_text(encoding="utf-8")
    assert "report:" in run.err
    assert "report:" not in run.out


def test_classify_takes_a_csv_of_labels(anmok, photos, tiny_folder, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("label,ko\ncat,고양이\ndog,개\n", encoding="utf-8")
    run = anmok("classify", photos / "one.png", "-l", labels, "-m", tiny_folder, "--json")
    assert {p["label"] for p in run.records[0]["predictions"]} == {"cat", "dog"}


def test_a_long_list_of_labels_is_no_file_name(anmok, photos, tiny_folder):
    labels = ",".join(f"label {number}" for number in range(300))
    run = anmok("classify", photos / "one.png", "-l", labels, "-m", tiny_folder, "--top", 300, "--json")
    assert run.status == 0
    assert len(run.records[0]["predictions"]) == 300


def test_missing_label_file_is_a_clear_error(anmok, photos, tiny_folder):
    run = anmok("classify", photos / "one.png", "-l", "labels.txt", "-m", tiny_folder)
    assert run.status == 2
    assert run.err.strip() == "anmok: --labels labels.txt: no such file"


def test_unknown_model_names_the_way_out(anmok, photos):
    run = anmok("classify", photos / "one.png", "-l", "a,b", "-m", "anmok-mino")
    assert run.status == 2
    assert "anmok-mini" in run.err
    assert "Traceback" not in run.err


def test_index_and_search(anmok, photos, tiny_folder, tmp_path):
    collection = tmp_path / "my.anmok"
    first = anmok("index", photos, "-c", collection, "-m", tiny_folder, "--json")
    assert first.status == 1
    assert first.records[0]["added"] == 3
    assert first.records[0]["failed"][0]["picture"].endswith("bad.jpg")
    again = anmok("index", photos, "-c", collection, "--json")
    assert again.records[0]["added"] == 0
    assert again.records[0]["unchanged"] == 3
    found = anmok("search", photos / "one.png", "-c", collection, "--top", 2, "--json")
    assert found.status == 0
    assert [record["rank"] for record in found.records] == [1, 2]
    assert found.records[0]["picture"].endswith("one.png")
    assert set(found.records[0]) == {"rank", "picture", "score", "cosine", "found"}


def test_search_filters_by_folder(anmok, photos, tiny_folder, tmp_path):
    collection = tmp_path / "my.anmok"
    anmok("index", photos, "-c", collection, "-m", tiny_folder)
    run = anmok("search", "a cat", "-c", collection, "--where", "folder=bags", "--json")
    assert len(run.records) == 2
    assert all("bags" in record["picture"] for record in run.records)


def test_search_without_a_collection_says_how_to_make_one(anmok, tmp_path):
    run = anmok("search", "cat", "-c", tmp_path / "none.anmok")
    assert run.status == 2
    assert "anmok index" in run.err


def test_embed_writes_rows_names_and_fingerprint(anmok, photos, tiny_folder, tmp_path):
    output = tmp_path / "out.npz"
    run = anmok("embed", photos, "-o", output, "-m", tiny_folder)
    assert run.status == 1
    saved = np.load(output)
    assert saved["vectors"].shape == (3, 24)
    assert len(saved["names"]) == 3
    assert len(str(saved["fingerprint"])) >= 16


def test_embed_texts_as_parquet(anmok, tiny_folder, tmp_path):
    import pyarrow.parquet

    texts = tmp_path / "texts.txt"
    texts.write_text("a cat\na dog\n", encoding="utf-8")
    assert anmok("embed", "--texts", texts, "-o", tmp_path / "t.parquet", "-m", tiny_folder).status == 0
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert table["name"].to_pylist() == ["a cat", "a dog"]
    assert b"anmok.fingerprint" in table.schema.metadata


def test_embed_wants_a_known_suffix(anmok, photos, tmp_path):
    run = anmok("embed", photos, "-o", tmp_path / "x.txt")
    assert run.status == 2
    assert ".npy, .npz, .parquet" in run.err


def test_labels_live_in_a_store(anmok, photos, tiny_folder, tmp_path):
    labels = tmp_path / "labels.anmok"
    added = anmok("labels", "add", labels, "cat,dog", "-m", tiny_folder, "--json")
    assert added.records[0]["added"] == ["cat", "dog"]
    assert anmok("labels", "add", labels, "dog,bird", "-m", tiny_folder, "--json").records[0]["added"] == ["bird"]
    assert anmok("labels", "delete", labels, "cat", "-m", tiny_folder).status == 0
    assert anmok("labels", "list", labels, "-m", tiny_folder).out.split() == ["dog", "bird"]
    run = anmok("classify", photos / "one.png", "-l", labels, "-m", tiny_folder, "--json")
    assert {p["label"] for p in run.records[0]["predictions"]} == {"dog", "bird"}


def test_labels_are_calibrated_from_folders(anmok, photos, tiny_folder, tmp_path):
    labels, examples = tmp_path / "labels.anmok", tmp_path / "examples"
    anmok("labels", "add", labels, "cat,dog", "-m", tiny_folder)
    for name in ("cat", "none"):
        (examples / name).mkdir(parents=True)
        (examples / name / "a.png").write_bytes((photos / "one.png").read_bytes())
    run = anmok("labels", "calibrate", labels, examples, "-m", tiny_folder)
    assert run.status == 0
    assert "from 2 pictures" in run.err


def test_store_commands(anmok, photos, tiny_folder, tmp_path):
    collection = tmp_path / "my.anmok"
    (photos / "copy.png").write_bytes((photos / "one.png").read_bytes())
    anmok("index", photos, "-c", collection, "-m", tiny_folder)
    assert anmok("store", "check", collection, "--json").records[0]["problems"] == []
    assert anmok("store", "backup", collection, tmp_path / "copy.anmok").status == 0
    assert anmok("store", "compact", collection).status == 0
    groups = anmok("store", "duplicates", collection, "--threshold", "0.9999", "--json").records
    assert {path.rsplit("/", 1)[1] for path in groups[0]["pictures"]} == {"one.png", "copy.png"}
    assert anmok("store", "recall", collection, "--json").records[0]["recall"] == 1.0
    assert len(anmok("search", "a cat", "-c", tmp_path / "copy.anmok", "--json").records) == 4


def test_models_filters_by_license(anmok):
    every = anmok("models", "--json").records
    commercial = anmok("models", "--license", "commercial", "--json").records
    assert 0 < len(commercial) < len(every)
    assert all(record["commercial"] for record in commercial)


def test_doctor_reports_machine_and_checkpoint(anmok, tiny_folder, torchvision):
    run = anmok("doctor", "-m", tiny_folder, "--json")
    names = [record["name"] for record in run.records]
    assert run.status == 0, run.records
    assert "processor" in names
    assert "equal to transformers, pixels and text included" in names


def test_doctor_measures_how_a_checkpoint_runs_best_and_remembers_it(anmok, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
    before = anmok("doctor", "-m", tiny_folder)
    assert "anmok doctor --measure" in before.out
    measured = anmok("doctor", "-m", tiny_folder, "--measure", "--json").records
    tower = next(one for one in measured if one["name"] == "picture tower")
    speeds = next(one for one in measured if one["name"] == "picture tower, times as fast as onnxruntime fp32")
    assert "onnxruntime int8" in speeds["detail"]
    again = anmok("doctor", "-m", tiny_folder, "--json").records
    assert tower in again
    assert speeds in again


def test_doctor_shows_how_to_install_what_is_missing(anmok, tiny_folder, monkeypatch):
    monkeypatch.setattr("anmok.doctor.machine.find_spec", lambda name: None)
    assert "anmok[heic]" in anmok("doctor", "-m", tiny_folder).out


def test_demo_leaves_a_page(anmok, photos, tiny_folder, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n개\n", encoding="utf-8")
    run = anmok("demo", photos, "--labels", labels, "-o", tmp_path / "report", "-m", tiny_folder)
    assert run.status == 1  # bad.jpg
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "빨간 가방.png" in page
    assert "bad.jpg" in page


def test_evaluate_needs_something_to_measure(anmok):
    run = anmok("evaluate")
    assert run.status == 2
    assert "--data" in run.err


def test_evaluate_a_folder_of_classes(anmok, photos, tiny_folder, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes((photos / "one.png").read_bytes())
    run = anmok("evaluate", "--data", tmp_path / "data", "-m", tiny_folder, "--json")
    assert run.status == 0
    assert run.records[0]["n"] == 2


def test_misspelled_setting_stops_before_any_work(anmok, photos, monkeypatch):
    monkeypatch.setenv("ANMOK_THREAD", "1")
    run = anmok("classify", photos / "one.png", "-l", "a,b")
    assert run.status == 2
    assert "ANMOK_THREADS" in run.err


@pytest.mark.parametrize(
    "arguments", [(), ("classify",), ("index",), ("search",), ("labels", "add"), ("store", "check")]
)
def test_help_teaches(anmok, arguments):
    run = anmok(*arguments, "--help")
    assert run.status == 0
    assert "Usage: anmok" in run.out


def test_a_real_process_prints_korean_whatever_the_locale(photos, tiny_folder):
    command = [
        sys.executable,
        "-m",
        "anmok",
        "classify",
        photos / "bags" / "빨간 가방.png",
        "-l",
        "컵,접시",
        "-m",
        tiny_folder,
    ]
    run = subprocess.run([*map(str, command), "--json"], capture_output=True, check=False)
    assert run.returncode == 0
    assert "컵" in run.stdout.decode("utf-8")
