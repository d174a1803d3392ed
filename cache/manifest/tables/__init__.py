"""Tables of text from files, rows and frames; they know nothing of clips."""

from __future__ import annotations

from .table import SUFFIXES, Table, read_table, table_of_frame, table_of_rows, write_table

__all__ = ["SUFFIXES", "Table", "read_table", "table_of_frame", "table_of_rows", "write_table"]
