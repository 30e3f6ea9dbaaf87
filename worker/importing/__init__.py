"""`frontpage import`: other people's files become a reading set, and a report of what did not.

`run.py` is the dataflow: files → rows (`tables.py`, `parquet.py`, `mind.py`) → records
(`records.py`, `cells.py`, by the columns of `columns.py`; rows of impressions are put together in
`impressions.py`) → files (`building.py`).
"""
