"""`inspect` takes files as people name them, in the formats that they come in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError
from simulator.cli import main
from simulator.inspect.files import find
from simulator.inspect.sample import sampled
from simulator.inspect.text_files import written
from simulator.settings import load
from tests.simulator.inspect.logs import clock, impressions, proposed, replayed, with_columns, write


@pytest.mark.parametrize(
    ("separator", "name", "header"),
    [
        (",", "log.csv", True),
        (",", "log.csv", False),
        ("\t", "log.tsv.gz", False),
        ("::", "log.dat", False),
        ("|", "log", True),
    ],
)
def test_text_is_read_whatever_separates_it(tmp_path: Path, separator: str, name: str, header: bool) -> None:
    rows = with_columns(impressions(), note=lambda row, _: f"{row['item_id']} o'clock, here")
    quoted = separator == ","
    file = write(tmp_path / name, rows, separator=separator, header=header, quoted=quoted)
    found, _ = proposed(tmp_path, file)
    table = found.stream.table
    assert bool(table.columns) == (not header)
    names = table.columns or list(rows[0])
    roles = dict(zip(rows[0], names, strict=True))
    assert table.time == roles["time"]
    assert table.label == roles["click"]
    assert table.user[0] == roles["user_id"]
    assert table.item[0] == roles["item_id"]
    assert replayed(found).manifest.rows_kept == len(rows)


def test_blanks_and_commas_of_lists_in_a_tabbed_file_separate_no_columns(tmp_path: Path) -> None:
    """Each line has as many of them, and more than tabs."""
    lists = {"seen": lambda row, _: "1 2 3", "vector": lambda row, _: ",".join(["0.5"] * 9)}
    rows = with_columns(impressions(), when=clock("%m/%d/%Y %I:%M:%S %p"), **lists)
    write(tmp_path / "log.tsv", rows, separator="\t")
    found, _ = proposed(tmp_path, tmp_path / "log.tsv")
    assert found.stream.table.separator == r"\t"
    assert replayed(found).manifest.rows_kept == len(rows)


def test_names_that_the_reader_uses_are_columns_like_any_other(tmp_path: Path) -> None:
    names = ["_row", "_file", "_part", "_defect", "c0"]
    rows = with_columns(impressions(), **dict.fromkeys(names, lambda row, draw: draw.choice("abc")))
    write(tmp_path / "log.csv", rows)
    found, _ = proposed(tmp_path, tmp_path / "log.csv")
    assert set(names) <= set(found.stream.table.context)
    assert replayed(found).manifest.rows_kept == len(rows)


def test_quotes_within_values_are_characters_like_any_other(tmp_path: Path) -> None:
    rows = with_columns(impressions(), query=lambda row, _: f'{row["item_id"]}" screen')
    write(tmp_path / "log.tsv", rows, separator="\t", quoted=False)
    found, _ = proposed(tmp_path, tmp_path / "log.tsv")
    assert (found.stream.table.quoting, found.stream.table.separator) == ("none", r"\t")
    assert replayed(found).manifest.rows_kept == len(rows)


def test_a_header_whose_first_name_is_empty_is_a_header(tmp_path: Path) -> None:
    rows = [{"": number} | row for number, row in enumerate(impressions())]
    write(tmp_path / "log.csv", rows)
    found, _ = proposed(tmp_path, tmp_path / "log.csv")
    assert (found.stream.table.columns, found.stream.table.label) == ([], "click")


def test_files_are_given_as_paths_a_folder_or_a_pattern(tmp_path: Path) -> None:
    rows = impressions()
    for day in range(3):
        write(tmp_path / "logs" / f"day-{day}.csv", rows[day * 500 : (day + 1) * 500])
    every = sorted((tmp_path / "logs").iterdir())
    for given in (["logs"], ["logs/day-*.csv"], ["logs/*"], [file.relative_to(tmp_path) for file in every]):
        found, _ = proposed(tmp_path, *(tmp_path / one for one in given))
        assert replayed(found).manifest.rows_kept == 1_500, given
    (tmp_path / "logs" / "notes.txt").write_text("nothing of the log\n")
    found, _ = proposed(tmp_path, *every)
    assert replayed(found).manifest.rows_kept == 1_500


def test_what_is_no_log_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "words.csv").write_text("one\ntwo words\nthree words here\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    for name, said in (
        ("absent.csv", "no such file"),
        ("empty.csv", "is empty"),
        ("words.csv", "no separator"),
        ("broken.parquet", "not readable as Parquet"),
    ):
        assert main(["inspect", str(tmp_path / name)]) == 1
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        assert said in message


def test_the_yaml_goes_to_the_output_and_all_else_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "log.csv", impressions())
    assert main(["inspect", str(file)]) == 0
    printed = capsys.readouterr()
    assert "1,500 rows" in printed.err
    (tmp_path / "out.yaml").write_text(printed.out)
    assert load(tmp_path / "out.yaml").stream.root == str(tmp_path)
    assert main(["inspect", str(file), "-o", str(tmp_path / "out.yaml")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["inspect", str(file), "--output", str(tmp_path / "new.yaml")]) == 0
    assert "1,500 rows" in capsys.readouterr().out
    assert (tmp_path / "new.yaml").read_text() == printed.out


def test_names_that_yaml_would_read_as_something_else_are_texts(tmp_path: Path) -> None:
    names = {"time": "on", "click": "label", "user_id": "user: #1", "item_id": "item, id", "device": "007"}
    rows = [{names.get(name, name): value for name, value in row.items()} for row in impressions()]
    write(tmp_path / "2024_01_15" / "1e3.csv", [row | {"no": row["007"]} for row in rows])
    found, _ = proposed(tmp_path, tmp_path / "2024_01_15" / "1e3.csv")
    table = found.stream.table
    assert (found.name, table.label, table.user, table.item) == ("1e3", "label", ["user: #1"], ["item, id"])
    assert table.context == ["007", "no"]
    assert replayed(found).manifest.rows_kept == len(rows)


def test_a_large_file_is_sampled_in_stretches_the_same_ones_each_time(tmp_path: Path) -> None:
    rows = impressions(rows=30_000)
    write(tmp_path / "log.csv", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    for name in ("log.csv", "log.parquet"):
        found = find([str(tmp_path / name)])
        shape = None if name.endswith("parquet") else written(tmp_path / name)
        seen = []
        for _ in range(2):
            with sampled(found, shape, 6_000, tmp_path) as sample:
                seen.append(sample.ask("SELECT _row FROM sample ORDER BY _row"))
                request = sample.key("page_view")
                whole = sample.ask(
                    f"SELECT avg((n = 5)::INT) FROM (SELECT count(*) AS n FROM sample GROUP BY {request})"
                )
        assert seen[0] == seen[1]
        assert 2_000 < len(seen[0]) < 12_000
        assert whole[0][0] > 0.95


def test_it_answers_without_ray(tmp_path: Path) -> None:
    file = write(tmp_path / "log.csv", impressions())
    code = f"""
import sys
from simulator.cli import main
assert main(["inspect", {str(file)!r}]) == 0
assert not [name for name in sys.modules if name.split(".")[0] == "ray"]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_columns_that_cannot_be_of_a_log_are_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = with_columns(impressions(), where=lambda row, _: {"lat": 1.0}, ts=lambda row, _: row["item_id"])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist([row | {"extra": 1} for row in rows]), tmp_path / "b.parquet")
    found, _ = proposed(tmp_path, tmp_path / "*.parquet")
    text = (tmp_path / "proposed.yaml").read_text()
    assert "where: is struct" in text
    assert "extra: a.parquet has no such column" in text
    assert replayed(found).manifest.rows_kept == 2 * len(rows)


def test_times_in_parquet_are_timestamps(tmp_path: Path) -> None:
    rows = with_columns(impressions(), time=clock("%Y-%m-%d %H:%M:%S"))
    table = pa.Table.from_pylist(rows)
    stamps = table.column("time").cast(pa.timestamp("s")).cast(pa.timestamp("us", "Europe/Paris"))
    pq.write_table(table.set_column(table.schema.get_field_index("time"), "time", stamps), tmp_path / "log.parquet")
    found, _ = proposed(tmp_path, tmp_path / "log.parquet")
    assert found.stream.table.time == "time"
    assert replayed(found).manifest.rows_kept == len(rows)


def test_a_pattern_that_matches_nothing_says_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"a\.json"):
        find([str(tmp_path / "*.csv")])
