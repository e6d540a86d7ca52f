"""The error tree: one family, drawn at the top of the file, messages with a way out."""

import inspect
import pickle

from anmok import errors


def test_every_error_belongs_to_the_family():
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    assert all(issubclass(each, errors.AnmokError) for each in classes)


def test_tree_in_the_docstring_lists_every_error():
    for name in errors.__all__:
        if name != "did_you_mean":
            assert name in errors.__doc__


def test_picture_error_names_the_file_and_survives_a_process_border():
    error = pickle.loads(pickle.dumps(errors.PictureError("a.jpg", "is empty")))
    assert str(error) == "a.jpg: is empty"
    assert (error.picture, error.reason) == ("a.jpg", "is empty")


def test_missing_extra_says_what_to_install_and_is_an_import_error():
    error = errors.MissingExtra("torch", "train", "training")
    assert "pip install 'anmok[train]'" in str(error)
    assert isinstance(error, ImportError)


def test_near_names_are_offered_and_far_ones_are_not():
    assert errors.did_you_mean("softmx", ["softmax", "sigmoid"]) == " Did you mean 'softmax'?"
    assert errors.did_you_mean("xyz", ["softmax", "sigmoid"]) == ""
