"""HTML that people look at: one self-contained file, no network, pictures inside."""

from anmok.report.page import Card, Page, Row, render, thumbnail, write

__all__ = ["Card", "Page", "Row", "render", "thumbnail", "write"]
