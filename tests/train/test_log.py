import json

from tensorboardX.proto import event_pb2

from anmok.train.log import Log


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_record_goes_to_the_file_the_listener_and_tensorboard(tmp_path):
    heard = []
    with Log(tmp_path, heard.append) as log:
        log.write("train", 10, loss=1.5, scale=14)
        log.write("evaluate", 10, **{"validation recall@5 ko": 0.25, "설명": "글"})
        assert records(tmp_path) == heard  # at once, before it is closed
    assert heard[0] == {"kind": "train", "step": 10, "loss": 1.5, "scale": 14}
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [(10, 1.5)]
    assert scalars(tmp_path / "tensorboard")["evaluate/validation_recall_5_ko"] == [(10, 0.25)]


def scalars(folder):
    """TensorBoard's files: length, checksum, event, checksum; again and again."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[12 + length + 4 :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found
