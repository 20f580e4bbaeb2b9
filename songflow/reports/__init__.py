"""Reports: the effect of a sweep's fields on its songs as plots, an HTML page and a table, from the manifest alone.

report = make_report(frame, "My sweep")
write_report(report, Path("report"))
"""

from songflow.reports.report import Picture, Report, make_report
from songflow.reports.write import write_report

__all__ = ["Picture", "Report", "make_report", "write_report"]
