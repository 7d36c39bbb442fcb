"""The threshold explorer: as a self-contained HTML page, and as a live widget (`ccb_lib.explorer.widget`)."""

from ccb_lib.explorer.pages import explorer_html, table_html

__all__ = ["explorer_html", "table_html"]
