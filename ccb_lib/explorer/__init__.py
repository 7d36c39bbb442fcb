"""The threshold explorer: a self-contained HTML page or a widget (`ccb_lib.explorer.widget`)."""

from ccb_lib.explorer.pages import explorer_html, table_html

__all__ = ["explorer_html", "table_html"]
