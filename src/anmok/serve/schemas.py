"""What requests and answers look like, as OpenAPI tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from anmok.serve.pictures import Picture, Term

__all__ = [
    "AddRequest",
    "Added",
    "CalibrateRequest",
    "Calibrated",
    "ClassifyRequest",
    "ClassifyResponse",
    "CollectionRequest",
    "CollectionStats",
    "Collections",
    "DeleteRequest",
    "Deleted",
    "Duplicates",
    "EmbedRequest",
    "EmbedResponse",
    "Failed",
    "FolderRequest",
    "Folders",
    "JobFacts",
    "JobList",
    "LabelModel",
    "LabelNames",
    "LabelSetDetail",
    "LabelSetFacts",
    "LabelSetMade",
    "LabelSetRequest",
    "LabelSets",
    "LabelsChanged",
    "LabelsRequest",
    "Listed",
    "MoveRequest",
    "Problem",
    "Recognisers",
    "SearchRequest",
    "SearchResponse",
    "SubFolder",
    "WarningModel",
]

PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="  # one red pixel
MOST = 1000  # hits or rows in one answer
MANY = 10_000  # items of a list in a request, whatever the settings allow: each wrong one is an error of its own
DEEPEST = 100_000  # hits that can be skipped

Top = Annotated[int, Field(ge=1, le=MOST)]
Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(max_length=64)]


class Problem(BaseModel):
    """What is wrong with one item."""

    code: str
    message: str


class WarningModel(BaseModel):
    """Something to know of an answer that is given all the same.

    `unsupported_script`: `items` (labels, texts or terms of the request, by number from 0) are in a `script` that the
    model cannot read; `models` are those served here that can.
    """

    code: Literal["unsupported_script"]
    message: str
    items: list[int]
    script: str
    models: list[str]


class Asked(BaseModel):
    """A request: a field that is not known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


# --- classify


class ClassifyRequest(Asked):
    """Pictures, and what they may show: exactly one of `labels`, `label_set` and `recogniser`."""

    pictures: list[Picture] = Field(min_length=1, max_length=MANY)
    labels: list[Text] | None = Field(None, min_length=1, max_length=MANY)
    label_set: Name | None = None
    recogniser: Name | None = None
    templates: Literal["small", "clip80", "korean", "none"] = "small"
    top: Top = 5
    back_off: float | None = Field(None, ge=0, le=1)
    error_rate: float | None = Field(None, gt=0, lt=1)
    model: str | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"pictures": [PICTURE], "labels": ["a cat", "a dog", "컵"], "top": 2}},
    )

    @model_validator(mode="after")
    def _one_of(self) -> ClassifyRequest:
        given = [self.labels, self.label_set, self.recogniser]
        if sum(one is not None for one in given) != 1:
            raise ValueError("give exactly one of labels, label_set and recogniser")
        if self.error_rate is not None and self.recogniser is None:
            raise ValueError("error_rate needs a recogniser: only those promise one")
        return self


class PredictionModel(BaseModel):
    """`probability` is among the labels; `match` (0 to 1) says whether the label fits at all."""

    label: str
    probability: float
    score: float
    match: float


class Classified(BaseModel):
    """Of one picture; `found` false is "none of these"."""

    found: bool = False
    predictions: list[PredictionModel] = []
    error: Problem | None = None


class ClassifyResponse(BaseModel):
    """One result for each picture, in order. `warnings`: of the labels of the request."""

    model: str
    results: list[Classified]
    warnings: list[WarningModel] = []


# --- embed


class EmbedRequest(Asked):
    """Pictures or texts."""

    pictures: list[Picture] | None = Field(None, min_length=1, max_length=MANY)
    texts: list[Text] | None = Field(None, min_length=1, max_length=MANY)
    encoding: Literal["float", "base64"] = "float"
    model: str | None = None

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"texts": ["a red bag", "빨간 가방"]}})

    @model_validator(mode="after")
    def _one_of(self) -> EmbedRequest:
        if (self.pictures is None) == (self.texts is None):
            raise ValueError("give either pictures or texts")
        return self


class Embedded(BaseModel):
    """`embedding`: a list of numbers, or base64 of little-endian float32. Unit length."""

    embedding: list[float] | str | None = None
    error: Problem | None = None


class EmbedResponse(BaseModel):
    """Only embeddings of equal fingerprints can be compared. `warnings`: of the texts."""

    model: str
    fingerprint: str
    dimension: int
    results: list[Embedded]
    warnings: list[WarningModel] = []


# --- search


class SearchRequest(Asked):
    """Exactly one of `query` (words and their arithmetic), `picture`, and `terms` (both)."""

    collection: Name
    query: Text | None = None
    picture: Picture | None = None
    terms: list[Term] | None = Field(None, min_length=1, max_length=16)
    top: Top = 20
    skip: int = Field(0, ge=0, le=DEEPEST)
    where: dict[str, Any] | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"collection": "shop", "query": "2:red bag - leather", "top": 10, "where": {"folder": "bags"}}
        },
    )

    @model_validator(mode="after")
    def _one_of(self) -> SearchRequest:
        if sum(one is not None for one in (self.query, self.picture, self.terms)) != 1:
            raise ValueError("give exactly one of query, picture and terms")
        return self


class HitModel(BaseModel):
    """`score` (0 to 1) means the same for every query; `found`: the picture fits at all."""

    id: str
    score: float
    cosine: float
    found: bool
    metadata: dict[str, Any]
    thumbnail: str


class SearchResponse(BaseModel):
    """Best first. `found`: whether any hit fits at all. `warnings`: of the terms, in the order of the query."""

    collection: str
    found: bool
    hits: list[HitModel]
    warnings: list[WarningModel] = []


# --- collections


class CollectionRequest(Asked):
    """A new collection, of pictures as one model sees them."""

    name: Name
    model: str | None = None

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "shop"}})


class CollectionStats(BaseModel):
    """Size and state. `exact`: searches compare all pictures."""

    name: str
    pictures: int
    failed: int
    folders: list[str]
    model: str
    fingerprint: str
    bytes: int
    exact: bool


class Collections(BaseModel):
    """All of them; what cannot be opened is listed in `errors`."""

    collections: list[CollectionStats]
    errors: dict[str, Problem] = {}


class NewPicture(Asked):
    """A picture for a collection. `id`: by which it is found again; its content's hash unless given."""

    id: str | None = None
    picture: Picture
    metadata: dict[str, Any] | None = None


class AddRequest(Asked):
    """Pictures to take in. A bare picture is one without id and metadata."""

    pictures: list[NewPicture | Picture] = Field(min_length=1, max_length=MANY)

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"pictures": [{"id": "dot", "picture": PICTURE, "metadata": {"price": 12}}]}},
    )


class AddedPicture(BaseModel):
    """What became of one picture."""

    id: str | None
    error: Problem | None = None


class Added(BaseModel):
    """How many were new, changed and as they were, and each by itself."""

    added: int
    changed: int
    unchanged: int
    results: list[AddedPicture]


class DeleteRequest(Asked):
    """Pictures by id, or by a filter."""

    ids: list[str] | None = Field(None, max_length=MANY)
    where: dict[str, Any] | None = None

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"ids": ["dot"]}})

    @model_validator(mode="after")
    def _one_of(self) -> DeleteRequest:
        if (self.ids is None) == (not self.where):
            raise ValueError("give either ids or where")
        return self


class Deleted(BaseModel):
    """How many."""

    deleted: int


class ListedPicture(BaseModel):
    """A picture of a collection."""

    id: str
    metadata: dict[str, Any]
    thumbnail: str


class Listed(BaseModel):
    """A part of a collection, in the order that pictures were taken in; `total` of all that the filter allows."""

    total: int
    pictures: list[ListedPicture]


class FailedPicture(BaseModel):
    """A picture that could not be taken in."""

    id: str
    error: str


class Failed(BaseModel):
    """Those that could not be taken in."""

    total: int
    failed: list[FailedPicture]


class DuplicateModel(BaseModel):
    """One of pictures that are nearly the same."""

    id: str
    thumbnail: str


class Duplicates(BaseModel):
    """Groups of pictures that are nearly the same, the largest first."""

    groups: list[list[DuplicateModel]]


# --- jobs


class SubFolder(BaseModel):
    """A folder of the service's machine; `path` begins with the name of its root."""

    name: str
    path: str


class Folders(BaseModel):
    """The folders in a folder."""

    path: str
    folders: list[SubFolder]


class FolderRequest(Asked):
    """A folder by its root's name and the path below it. `verify`: read all files; `retry`: what failed before, too."""

    folder: Annotated[str, Field(min_length=1, max_length=4096)]
    verify: bool = False
    retry: bool = False

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"folder": "photos/2026"}})


class MoveRequest(Asked):
    """The model to move to. Below `least_recall` of an exact search nothing is switched; `switch` false only compares;
    `discard` throws away an unfinished move to yet another model."""

    model: str
    least_recall: float = Field(0.9, ge=0, le=1)
    switch: bool = True
    discard: bool = False

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"model": "anmok-mini"}})


class JobFacts(BaseModel):
    """A long job. Times are seconds since 1970; `rate`, in its progress, is items a second."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    cancelling: bool
    arguments: dict[str, Any]
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: str | None
    created: float
    started: float | None
    finished: float | None


class JobList(BaseModel):
    """The newest first."""

    jobs: list[JobFacts]


# --- labels


class LabelModel(Asked):
    """A label. `parent`: the wider label that it belongs to."""

    name: Text
    synonyms: list[Text] = Field([], max_length=MANY)
    ko: Text | None = None
    parent: Text | None = None


LabelIn = LabelModel | Text


class LabelSetRequest(Asked):
    """A new label set."""

    name: Name
    labels: list[LabelIn] = Field(min_length=1, max_length=MANY)
    templates: Literal["small", "clip80", "korean", "none"] = "small"
    model: str | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "pets", "labels": ["dog", {"name": "cat", "synonyms": ["kitten"], "ko": "고양이"}]}
        },
    )


class LabelSetFacts(BaseModel):
    """A label set. `threshold`: on `match`, from where on a picture shows one of the labels."""

    name: str
    labels: int
    model: str
    templates: int
    threshold: float


class LabelSetMade(LabelSetFacts):
    """A new label set. `warnings`: of its labels, with their synonyms and Korean names."""

    warnings: list[WarningModel] = []


class LabelSets(BaseModel):
    """All of them; what cannot be opened is listed in `errors`."""

    label_sets: list[LabelSetFacts]
    errors: dict[str, Problem] = {}


class LabelSetDetail(LabelSetFacts):
    """A label set and a part of its labels; `total` of all that begin with the prefix."""

    total: int
    members: list[LabelModel]


class LabelsRequest(Asked):
    """Labels to add, or to change."""

    labels: list[LabelIn] = Field(min_length=1, max_length=MANY)

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"labels": ["rabbit", "토끼"]}})


class LabelNames(Asked):
    """Labels by name."""

    names: list[Text] = Field(min_length=1, max_length=MANY)

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"names": ["rabbit"]}})


class LabelsChanged(BaseModel):
    """Names. `warnings`: of the labels of the request."""

    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    deleted: list[str] = []
    warnings: list[WarningModel] = []


class CalibrateRequest(Asked):
    """Examples from which "none of these" is learned; null: none of the labels fits."""

    pictures: list[Picture] = Field(min_length=2, max_length=MANY)
    labels: list[Text | None] = Field(min_length=2, max_length=MANY)

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"pictures": [PICTURE, PICTURE], "labels": ["cat", None]}}
    )


class Calibrated(BaseModel):
    """The new threshold on `match`."""

    threshold: float


class RecogniserFacts(BaseModel):
    """A recogniser that `anmok adapt` made, and how well it did on pictures that it had not seen."""

    name: str
    labels: list[str]
    model: str
    facts: dict[str, Any]


class Recognisers(BaseModel):
    """All of them; what cannot be opened is listed in `errors`."""

    recognisers: list[RecogniserFacts]
    errors: dict[str, Problem] = {}
