"""The three tables. Texts stand in one of them alone, so that one statement ends them all. It runs nothing."""

from sqlalchemy import BigInteger, Column, Float, Index, MetaData, String, Table, Text

METADATA = MetaData()
ANSWERS = Table(
    "adapterhub_answers", METADATA,
    Column("id", String(96), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("reference", String(400)),
    Column("adapter", String(300)),
    Column("version", String(400)),
    Column("digest", String(80)),
    Column("task", String(64), nullable=False),
    Column("label", Text),  # JSON; never a text of the row
    Column("seconds", Float, nullable=False),
    Index("adapterhub_answers_at", "at_ms"),
)
FEEDBACK = Table(
    "adapterhub_feedback", METADATA,
    Column("answer_id", String(96), primary_key=True),
    Column("holder", String(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("rating", Float),
    Column("label", Text),  # JSON
    Index("adapterhub_feedback_at", "at_ms"),
)
TEXTS = Table(
    "adapterhub_texts", METADATA,
    Column("answer_id", String(96), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("holder", String(64), primary_key=True),  # who gave it
    Column("at_ms", BigInteger, nullable=False),
    Column("value", Text, nullable=False),  # JSON
    Index("adapterhub_texts_at", "at_ms"),
)
ROW, RESULT, CORRECTION = "row", "result", "correction"
"""Kinds of texts."""
