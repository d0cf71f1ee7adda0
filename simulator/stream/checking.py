"""The query that reads a raw log: values as texts, times and labels as numbers, and what is wrong with a row."""

from __future__ import annotations

from simulator.stream.numeric import is_missing, number
from simulator.stream.raw import RawLog, quoted, text, texts
from simulator.stream.seen import TIMES
from simulator.stream.vectors import checks as of_vector
from simulator.stream.vectors import vector

LATEST = 253_402_300_799  # the last second of the year 9999; a time beyond it has another unit


def checked_rows(log: RawLog, history_length: int, list_length: int) -> str:
    """SQL of file, row, part, left_out, ts, label_ts, label0, ..., request, p_true, v0, v1, ..., reason, `seen.TIMES`.

    From label_ts on the label is known; a further label is null in a row that does not tell it. The reason is why a row
    is set aside, null in good ones; v0, v1, ... are `RawLog.values` in their order: texts, numbers, or lists of either.
    Of a history the last values are kept, of a list the first of those that are not missing.
    """
    kinds = {f.name: f.kind for f in log.schema.fields} | dict.fromkeys(
        (h.name for h in log.schema.histories), "history"
    )

    def converted(name: str, value: str) -> str:
        match kinds[name]:
            case "history":
                return f"CAST(({value})[-{history_length}:] AS VARCHAR[])"
            case "list":
                there = f"lambda one: one NOT IN ({texts(log.missing)})"
                return f"list_filter(CAST({value} AS VARCHAR[]), {there})[:{list_length}]"
            case "number":
                return number(value, log.missing)
            case "vector":
                return vector(value)
            case _:
                return f"CAST({value} AS VARCHAR)"

    values = ", ".join(f"{converted(name, value)} AS v{i}" for i, (name, value) in enumerate(log.values.items()))
    nobody = f"request IS NULL OR request IN ({texts(('', *log.missing))})"
    without_request = "false" if log.request is None else nobody
    labels, checks, written = "", "WHEN label_text0 IS NULL OR label_text0 = '' THEN 'no label'\n", ["time_text"]
    for i, (name, value) in enumerate({"label": log.label, **log.further_labels}.items()):
        written.append(f"label_text{i}")
        told = name if i == 0 else f"label {name}"
        unknown = "false" if i == 0 else is_missing(f"label_text{i}", log.missing)
        labels += f"""CAST({value} AS VARCHAR) AS label_text{i},
                CASE TRY_CAST({value} AS DOUBLE) WHEN 0 THEN 0 WHEN 1 THEN 1 END::TINYINT AS label{i},
                """
        checks += f"""WHEN label{i} IS NULL AND NOT ({unknown}) THEN
                {text(f"{told} ")} || {quoted(f"label_text{i}")} || ' is not 0 or 1'
            """
    if log.weight is not None:
        written.append("weight_text")
        labels += f"CAST({log.weight} AS VARCHAR) AS weight_text, TRY_CAST({log.weight} AS FLOAT) AS row_weight, "
        absent = f"weight_text IS NULL OR weight_text IN ({texts(('', *log.missing))})"
        checks += f"""WHEN {absent} THEN 'no weight'
            WHEN NOT coalesce(row_weight >= 0 AND isfinite(row_weight), false) THEN
                'weight ' || {quoted("weight_text")} || ' is not a number of 0 or more'
            """
    if log.label_ts is not None:
        written += ["label_time_text", "arrived"]
        labels += f"CAST({log.label_time} AS VARCHAR) AS label_time_text, {log.label_ts} AS arrived, "
        absent = f"label_time_text IS NULL OR label_time_text IN ({texts(('', *log.missing))})"
        shown = f"'label time ' || {quoted('label_time_text')}"
        checks += f"""WHEN label0 = 1 AND ({absent}) THEN 'no label time, though the label is 1'
            WHEN label0 = 1 AND (arrived IS NULL OR arrived > {LATEST}) THEN {shown} || ' does not parse'
            WHEN label0 = 1 AND arrived < ts THEN {shown} || ' is before the row''s own time'
            """
    for i, (name, value) in enumerate(log.values.items()):
        if kinds[name] not in ("number", "vector"):
            continue
        written.append(f"written{i}")
        values += f", {value} AS written{i}"
        if name in log.schema.vectors:
            checks += of_vector(name, f"v{i}", f"written{i}", log.schema.vectors[name].length)
            continue
        checks += f"""WHEN v{i} IS NULL AND NOT ({is_missing(f"written{i}", log.missing)}) THEN
                {text(f"{name} ")} || {quoted(f"CAST(written{i} AS VARCHAR)")} || ' is not a finite number of 32 bits'
            """
    rule, odd_year, odd_times = log.time_rule, "", dict.fromkeys(TIMES, "NULL")
    if rule is not None:
        years = f"' is not in the years {rule.first_year} to {rule.last_year}'"
        odd_year = f"WHEN ts NOT BETWEEN {rule.range} THEN 'time ' || {quoted('time_text')} || {years}"
        odd_times = {
            "far": rule.far("time_text", "ts"),
            "dated": rule.dated("time_text"),
            "without_zone": rule.without_zone("time_text", "ts"),
        }
    known = "ts" if log.label_ts is None else "CASE WHEN label0 = 1 THEN arrived ELSE ts END"
    noted = "".join(f", CAST({expression} AS VARCHAR) AS {name}" for name, expression in odd_times.items())
    return f"""
        SELECT * EXCLUDE (defect, {", ".join(written)}), CASE
            WHEN defect IS NOT NULL THEN defect
            WHEN time_text IS NULL OR time_text = '' THEN 'no time'
            WHEN ts IS NULL THEN 'time ' || {quoted("time_text")} || ' does not parse'
            WHEN ts NOT BETWEEN 0 AND {LATEST} THEN
                'time ' || {quoted("time_text")} || ' is not in the years 1970 to 9999; look at the unit of time'
            {odd_year}
            {checks}WHEN {without_request} THEN 'no request'
        END AS reason, {known} AS label_ts{noted}
        FROM (
            SELECT _file AS file, _row::BIGINT AS row, _part::BIGINT AS part, {log.defect} AS defect,
                CAST({log.left_out or "NULL"} AS VARCHAR) AS left_out,
                CAST({log.time} AS VARCHAR) AS time_text, {log.ts} AS ts,
                {labels}CAST({log.request or "NULL"} AS VARCHAR) AS request,
                TRY_CAST({log.p_true or "NULL"} AS DOUBLE) AS p_true, {values}
            FROM ({log.relation}))"""
