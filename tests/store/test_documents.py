import pytest

from anmok.errors import StoreError


def test_documents_are_a_durable_mapping(opened, store):
    files = store.documents("files")
    files["a.jpg"] = {"hash": "x", "size": 3}
    files.update({"b.jpg": [1, None], "한글\udc80.jpg": "가"}, c=1)
    store.documents("other")["a.jpg"] = 7
    store.close()
    files = opened().documents("files")
    assert files["a.jpg"] == {"hash": "x", "size": 3}
    assert list(files) == ["a.jpg", "b.jpg", "c", "한글\udc80.jpg"]
    assert dict(files.items())["한글\udc80.jpg"] == "가"
    assert len(files) == 4
    assert "a.jpg" in files
    assert "z" not in files
    assert 7 not in files
    assert files.get("z", 0) == 0
    with pytest.raises(KeyError, match="'z'"):
        files["z"]
    assert repr(files) == "Documents('files', 4 keys)"


def test_documents_are_deleted(store):
    files = store.documents("files")
    files.update({"a": 1, "b": 2, "c": 3})
    del files["a"]
    with pytest.raises(KeyError):
        del files["a"]
    files.delete(["b", "nobody"])
    assert dict(files) == {"c": 3}
    files.clear()
    assert dict(files) == {}


def test_documents_live_in_the_transaction(store):
    files = store.documents("files")
    with pytest.raises(RuntimeError), store.transaction():
        files["a"] = 1
        raise RuntimeError
    assert "a" not in files
    before = store.generation
    files["a"] = 1
    files["a"] = 1
    assert store.generation == before + 1


def test_bad_documents_are_refused_by_name(store):
    files = store.documents("files")
    with pytest.raises(StoreError, match="document 'a' of 'files' cannot be stored as JSON"):
        files.update({"b": 1, "a": object()})
    with pytest.raises(StoreError, match="are text, not int"):
        files[7] = 1
    assert len(files) == 0


def test_read_only_documents_say_so(opened, store):
    with pytest.raises(StoreError, match="opened to read only"):
        opened(readonly=True).documents("files")["a"] = 1
