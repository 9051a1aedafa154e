"""The report: one self-contained page of everything that result files hold."""

from mlbench.reporting.page import render_page, write_page
from mlbench.reporting.plotting import chart_names, write_chart
from mlbench.reporting.reading import Files, graphs_in, read_files
from mlbench.reporting.section import Section
from mlbench.reporting.sections import sections_of

__all__ = ["Files", "Section", "chart_names", "graphs_in", "read_files", "render_page", "sections_of", "write_chart", "write_page"]
