import json

from anmok.train.folder import RunFolder
from anmok.train.log import Log


def test_a_run_that_goes_on_forgets_what_it_told_of_later_steps(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(0)
    with Log(folder.path) as log:
        for step in (1, 2, 3):
            log.write("train", step, loss=float(step))
            folder.skipped(step, [("한글", "bad picture", "cut")] * step)
    with (folder.path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 4, "lo')  # killed in the middle of a line
    assert folder.count_skipped() == {"bad picture": 6}
    folder.begin(2)
    told = [json.loads(line) for line in (folder.path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["step"] for record in told] == [1, 2]
    assert folder.count_skipped() == {"bad picture": 3}


def test_only_a_new_run_gets_a_new_tokenizer(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(0)
    folder.tokenizer.mkdir()
    folder.begin(5)
    assert folder.tokenizer.exists()
    folder.begin(0)
    assert not folder.tokenizer.exists()
    assert folder.count_skipped() == {}
