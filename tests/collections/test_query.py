from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.collections import Term, format_query, parse_query, query_vector
from anmok.collections.query import combine
from anmok.embeddings import Embeddings
from anmok.errors import FingerprintMismatch, PictureError, QueryError


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("a red bag", [("a red bag", 1)]),
        ("  빨간 가방  ", [("빨간 가방", 1)]),
        ("2:red bag + photo.jpg - leather", [("red bag", 2), ("photo.jpg", 1), ("leather", -1)]),
        ("t-shirt - black-and-white", [("t-shirt", 1), ("black-and-white", -1)]),
        ("C++ book", [("C++ book", 1)]),
        ("- leather", [("leather", -1)]),
        ("- 0.5:leather + .25: bag", [("leather", -0.5), ("bag", 0.25)]),
        ('"salt + pepper" + mill', [("salt + pepper", 1), ("mill", 1)]),
        ('3:"16:9 screen"', [("16:9 screen", 3)]),
        ('"say ""hi"" - now"', [('say "hi" - now', 1)]),
        ('a 5" screen', [('a 5" screen', 1)]),
        ("a\t+\nb", [("a", 1), ("b", 1)]),
        ("night - -5 degrees", [("night", 1), ("-5 degrees", -1)]),
        ("ratio a:b", [("ratio a:b", 1)]),
    ],
)
def test_parse_reads_terms_and_weights(query, terms):
    assert [(term.content, term.weight) for term in parse_query(query)] == terms


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "the query is empty"),
        ("  \n", "the query is empty"),
        ("red bag -", "at character 10: nothing stands after '-'"),
        ("a + + b", "nothing stands after '\\+'"),
        ("+", "nothing stands after '\\+'"),
        ("a + 2:", "empty term"),
        ('a + ""', "nothing stands after"),
        ('a + "salt', "at character 5: this quote is never closed"),
        ('"a"b', "at character 4: after a closing quote"),
        ('"a"+ b', "after a closing quote"),
        ("0:red", "a weight must be above 0"),
        ("a + -2:red", "a sign stands apart from its term"),
        ("99999999:red", "a weight must be above 0 and below"),
    ],
)
def test_parse_points_at_what_it_cannot_read(query, message):
    with pytest.raises(QueryError, match=message):
        parse_query(query)


def test_parse_error_points_with_a_caret_below_wide_letters():
    with pytest.raises(QueryError) as caught:
        parse_query('빨강 + "가')
    line, caret = str(caught.value).splitlines()[1:]
    assert line == '  빨강 + "가'
    assert caret == "  " + " " * 7 + "^"  # two Hangul letters are four columns wide


words = st.text(st.sampled_from(string.ascii_letters + string.digits + ' +-:".\t빨간é'), min_size=1, max_size=12)
contents = words.filter(lambda text: text.strip())
weights = st.floats(1e-3, 999.0).flatmap(lambda weight: st.sampled_from([weight, -weight])) | st.sampled_from(
    [1.0, -1.0]
)
queries = st.lists(st.builds(Term, contents, weights), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(queries)
def test_format_then_parse_gives_the_same_terms(terms):
    assert parse_query(format_query(terms)) == terms


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from(' +-:".1a"빨\n'), max_size=14))
def test_parse_of_anything_gives_terms_or_a_query_error(query):
    try:
        terms = parse_query(query)
    except QueryError:
        return
    assert terms
    assert all(term.content.strip() and term.weight for term in terms)
    assert parse_query(format_query(terms)) == terms


def test_query_vector_is_the_weighted_sum_of_unit_vectors(encoder, photos):
    red, green = encoder.encode_text(["red", "green"]).vectors
    blue = encoder.encode_image([photos / "bags" / "b.png"]).vectors[0]
    wanted = 2 * red + blue - 0.5 * green
    found = query_vector(f"2:red + {photos / 'bags' / 'b.png'} - 0.5:green", encoder)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_query_vector_of_a_negative_term_alone(encoder):
    np.testing.assert_allclose(query_vector("- red", encoder), -query_vector("red", encoder), atol=1e-6)


def test_query_vector_takes_every_kind_of_picture(encoder, photos):
    path = photos / "bags" / "b.png"
    from PIL import Image

    with Image.open(path) as image:
        kinds = [path, str(path), path.read_bytes(), image, np.asarray(image)]
        vectors = [query_vector(kind, encoder) for kind in kinds]
    for vector in vectors:
        np.testing.assert_allclose(vector, vectors[0], atol=1e-6)


def test_query_vector_of_a_file_whose_name_holds_a_sign(encoder, paint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "sea - night.png", "blue")
    np.testing.assert_allclose(
        query_vector("sea - night.png", encoder), query_vector('"sea - night.png" + blue', encoder), atol=2e-2
    )


def test_query_vector_names_a_missing_picture_and_near_ones(encoder, photos):
    with pytest.raises(QueryError, match=r"tre\.jpg' and there is no such file|tre\.jpg.*Did you mean 'tree\.jpg'"):
        query_vector(f"red + {photos / 'tre.jpg'}", encoder)


def test_query_vector_refuses_terms_that_cancel_out(encoder):
    with pytest.raises(QueryError, match="cancel out"):
        query_vector("red - red", encoder)


def test_query_vector_refuses_a_broken_picture(encoder, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match="not a picture"):
        query_vector(tmp_path / "x.png", encoder)


def test_query_vector_refuses_embeddings_of_another_encoder_and_of_many_rows(encoder, encoder_type):
    with pytest.raises(FingerprintMismatch):
        query_vector(encoder_type(version="2").encode_text("red"), encoder)
    with pytest.raises(QueryError, match="has 2 embeddings"):
        query_vector(encoder.encode_text(["red", "blue"]), encoder)
    assert isinstance(encoder.encode_text("red"), Embeddings)


def test_terms_are_added_up_by_their_weights_and_scaled_to_length_one():
    rows = np.eye(3, dtype=np.float32)[:2]
    assert np.allclose(combine(rows, [3, -4]), [0.6, -0.8, 0])
    with pytest.raises(QueryError, match="cancel out"):
        combine(np.stack([rows[0], rows[0]]), [1, -1])
