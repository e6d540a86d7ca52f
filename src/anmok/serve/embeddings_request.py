"""What clients of OpenAI, infinity and vLLM send to `/v1/embeddings` → texts and pictures, in order.

All three say `input`; infinity adds `modality` to say that it holds pictures, vLLM sends `messages` instead. Fields
that are of no consequence here are ignored, as those servers do; those that would change the vectors are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from anmok.serve.problems import ApiError

__all__ = ["EmbeddingsRequest", "Item"]

TEXTS = 2048  # in a request, as at OpenAI
CHARACTERS = 32_768  # of a text: about the 8192 tokens of OpenAI; models here read the beginning of it

NO_IDS = (
    "these are token ids, which belong to another model's tokenizer: send texts. With LangChain: "
    "OpenAIEmbeddings(check_embedding_ctx_length=False)"
)
ONE_OF = "one vector is of one text or of one picture: send exactly one part that is not empty, and nothing beside it"


@dataclass(frozen=True)
class Item:
    """What one vector is asked for: a text or a picture, and the field that it came in."""

    place: str
    text: str | None = None
    picture: str | None = None


def _inputs(value: Any) -> Any:
    """One text as a list of one; token ids are told from what is merely wrong."""
    if isinstance(value, list):
        first = value[0][0] if value and isinstance(value[0], list) and value[0] else value[0] if value else None
        if isinstance(first, int) and not isinstance(first, bool):
            raise PydanticCustomError("token_ids", NO_IDS)
    return [value] if isinstance(value, str) else value


def _parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _conversations(value: Any) -> Any:
    """One conversation as a list of one."""
    return [value] if isinstance(value, list) and value and isinstance(value[0], dict) else value


class ImageUrl(BaseModel):
    """Where a picture is, or the picture itself as a data URI."""

    url: str


class Part(BaseModel):
    """A part of a message."""

    type: Literal["text", "image_url"] | None = None
    text: str | None = None
    image_url: ImageUrl | str | None = None


class Message(BaseModel):
    """A message as chat clients send it; who says it does not matter here."""

    role: str = "user"
    content: Annotated[
        list[Part], Field(fail_fast=True), BeforeValidator(_parts, json_schema_input_type=str | list[Part])
    ]


Inputs = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(fail_fast=True),
    BeforeValidator(_inputs, json_schema_input_type=str | list[str]),
]
Conversations = Annotated[
    list[list[Message]],
    Field(fail_fast=True),
    BeforeValidator(_conversations, json_schema_input_type=list[Message] | list[list[Message]]),
]


class EmbeddingsRequest(BaseModel):
    """Either `input` or `messages`.

    `input`: a text or several; with `modality` "image" data URIs, base64, or addresses where the service allows them.
    `messages`: a conversation that holds one text or one picture (`image_url`) and stands for one vector, or a list of
    such conversations. `dimensions`: only the full width of the model.
    """

    model: str | None = Field(None, min_length=1)
    input: Inputs | None = Field(None, min_length=1)
    messages: Conversations | None = Field(None, min_length=1)
    modality: Literal["text", "image"] | None = Field(
        None, validation_alias=AliasChoices("modality", "infinity_extra_modality")
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None
    # of vLLM: what is not so here is refused
    normalize: Literal[True] | None = None
    use_activation: Literal[True] | None = None
    embed_dtype: Literal["float32"] | None = None
    endianness: Literal["native", "little"] | None = None

    model_config = ConfigDict(
        json_schema_extra={"example": {"input": ["a red bag", "빨간 가방"], "encoding_format": "float"}}
    )

    @model_validator(mode="after")
    def _one_of(self) -> EmbeddingsRequest:
        if (self.input is None) == (self.messages is None):
            raise PydanticCustomError("one_of", "give either input or messages")
        return self

    def items(self) -> list[Item]:
        """What vectors are asked for, in order.

        Raises:
            ApiError: there are too many, or one is neither a text nor a picture (400).
        """
        if self.messages is not None:
            several = len(self.messages) > 1
            places = [f"messages[{i}]" if several else "messages" for i in range(len(self.messages))]
            items = [_item(messages, place) for messages, place in zip(self.messages, places, strict=True)]
        elif self.modality == "image":
            return [Item(f"input[{i}]", picture=picture) for i, picture in enumerate(self.input or [])]
        else:
            items = [Item(f"input[{i}]", text=text) for i, text in enumerate(self.input or [])]
        _check_texts(items)
        return items


def _item(messages: list[Message], place: str) -> Item:
    parts = [part for message in messages for part in message.content]
    texts = [part.text for part in parts if part.text is not None and part.text.strip()]
    pictures = [part.image_url for part in parts if part.image_url is not None]
    if len(texts) + len(pictures) != 1:
        raise ApiError(400, f"{place}: {ONE_OF}", param=place)
    if texts:
        return Item(place, text=texts[0])
    picture = pictures[0]
    return Item(place, picture=picture.url if isinstance(picture, ImageUrl) else picture)


def _check_texts(items: list[Item]) -> None:
    if len(items) > TEXTS:
        field = items[0].place.partition("[")[0]
        raise ApiError(400, f"{len(items)} texts in one request, at most {TEXTS}: send them in parts", param=field)
    for item in items:
        if item.text is None:
            continue
        if len(item.text) > CHARACTERS:
            message = f"{item.place} has {len(item.text):,} characters, at most {CHARACTERS:,}"
            raise ApiError(400, message, param=item.place)
        if item.text[:11].lower() == "data:image/":
            message = f'{item.place} is a picture: add "modality": "image" to the request, or it would be read as words'
            raise ApiError(400, message, param=item.place)
