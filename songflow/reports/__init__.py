"""Reports: what a sweep's fields did to its songs, in pictures, a page and a table, from the manifest alone.

report = make_report(frame, "My sweep", measures=measure_songs(...))
write_report(report, Path("report"))
"""

from songflow.reports.report import Picture, Report, make_report, write_report

__all__ = ["Picture", "Report", "make_report", "write_report"]
