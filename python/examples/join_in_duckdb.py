"""Joins the results of many videos with a table of one's own, in DuckDB: nothing is loaded as a whole.

    lanet-live --input 'corpus/**/*.mp4' --results out/
    python join_in_duckdb.py 'out/**/*.parquet' videos.csv

videos.csv has the columns source (as in the results) and condition, for example:

    source,condition
    corpus/anna-before.mp4,before
    corpus/anna-after.mp4,after
"""

import sys

import duckdb

QUERY = """
    WITH seen AS (
        SELECT source, track, expression, time, unsure
        FROM read_parquet(?)
        WHERE track IS NOT NULL
    )
    SELECT
        condition,
        expression,
        count(DISTINCT source) AS videos,
        round(count(*) / sum(count(*)) OVER (PARTITION BY condition), 3) AS share,
        round(avg(unsure::INT), 3) AS unsure
    FROM seen JOIN read_csv(?) USING (source)
    GROUP BY condition, expression
    ORDER BY condition, share DESC
"""

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(duckdb.execute(QUERY, sys.argv[1:]).df().to_string(index=False))
