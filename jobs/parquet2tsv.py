#!/usr/bin/env python3
"""parquet2tsv.py - metadata as npr-ingest reads it, from Parquet files as LAION and clip-retrieval publish them.

    parquet2tsv.py [--out=FOLDER] [--jobs=N] [--columns=NAME,NAME] FILE.parquet ...

Run once per file; FILE.tsv appears beside FILE.parquet, or in FOLDER, only when it is whole. Existing files are left
alone, so simply rerun an interrupted run. Row n of the table is line n + 2 of the TSV. Kept are the columns that
npr-ingest knows (in any case): url, caption, text, similarity, nsfw, punsafe, width, height, original_width, original_height,
label; with --columns those instead: --columns=id,status of img2dataset's own tables is what npr-extract --failed reads. Tabs and
line breaks inside of texts become spaces; null and NaN become empty. Row groups are streamed: memory is
bounded by --batch rows, whatever the file's size. On SIGUSR1 and SIGTERM the files in hand are finished and no other is begun.

Needs pyarrow (python3 -m venv V && V/bin/pip install pyarrow). Exit codes as of the other programs: 64 usage, 65 bad
data, 66 input missing, 70 a worker was killed, 73 cannot create, 74 I/O, 75 stopped on request, 78 pyarrow missing.
"""
import argparse
import concurrent.futures
import multiprocessing
import os
import signal
import sys

KNOWN = {"url", "caption", "text", "similarity", "nsfw", "punsafe", "width", "height", "original_width",
         "original_height", "label"}
BLANKS = bytes.maketrans(b"\t\r\n", b"   ")


class Failure(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def text_fields(pa, column):
    """Texts as bytes, so that what is not valid UTF-8 goes through unchanged."""
    return [(b or b"").translate(BLANKS) for b in column.cast(pa.large_binary()).to_pylist()]


def number_fields(column):
    return [b"" if v is None or v != v else repr(v).encode() for v in column.to_pylist()]


def choose_columns(pa, schema, source, wanted):
    """Names of the columns to keep, and which of them are texts."""
    chosen = {}
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        texts = (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)
                 or pa.types.is_large_binary(kind))
        numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if field.name.lower() in (wanted or KNOWN) and (texts or numbers):
            chosen[field.name] = texts
    missing = sorted((wanted or set()) - {name.lower() for name in chosen})
    if missing:
        raise Failure(65, f"{source}: no column {', '.join(missing)} of texts or numbers; it has {', '.join(schema.names)}")
    if not chosen:
        raise Failure(65, f"{source}: none of its columns is known: {', '.join(schema.names)}")
    return chosen


def write_rows(pa, table, columns, batch_rows, out):
    out.write("\t".join(columns).encode() + b"\n")
    rows = 0
    for batch in table.iter_batches(batch_size=batch_rows, columns=list(columns)):
        fields = []
        for name, texts in columns.items():
            column = batch.column(batch.schema.get_field_index(name))
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            fields.append(text_fields(pa, column) if texts else number_fields(column))
        for row in zip(*fields):
            out.write(b"\t".join(row) + b"\n")
        rows += batch.num_rows
    return rows


def convert(source, target, batch_rows, wanted):
    """One file. The TSV gets its name when it is complete and on the disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    if not os.path.exists(source):
        raise Failure(66, f"{source}: no such file")
    temp = f"{target}.tmp.{os.getpid()}"
    try:
        table = pq.ParquetFile(source)
        columns = choose_columns(pa, table.schema_arrow, source, wanted)
        with open(temp, "wb", buffering=1 << 20) as out:
            rows = write_rows(pa, table, columns, batch_rows, out)
            out.flush()
            os.fsync(out.fileno())
        if rows != table.metadata.num_rows:
            raise Failure(65, f"{source}: {rows} rows were read, it promises {table.metadata.num_rows}")
        os.replace(temp, target)
    except (pa.ArrowException, ValueError) as e:
        raise Failure(65, f"{source}: {' '.join(str(e).split())}") from e
    except OSError as e:
        creating = e.filename == temp and not os.path.exists(temp)
        raise Failure(73 if creating else 74, f"{e.filename or source}: {e.strerror or e}") from e
    finally:
        if os.path.exists(temp):
            os.unlink(temp)
    return rows


stopping = multiprocessing.Value("b", 0, lock=False)  # common to all processes; set once, by a signal


def leave_signals_to_parent():
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def convert_one(task):
    source, target, batch_rows, wanted = task
    if os.path.exists(target):
        return 0, f"{target}: is there already"
    if stopping.value:
        return 75, f"{target}: left for the next run"
    try:
        return 0, f"{target}: {convert(source, target, batch_rows, wanted)} rows"
    except Failure as e:
        return e.code, str(e)


def stop(*_):
    stopping.value = 1


def convert_all(tasks, jobs):
    """All files; gives the exit code, of which one that says of a failure goes before 75."""
    codes = {0}
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, stop)
    context = multiprocessing.get_context("fork")  # workers share `stopping`
    try:
        with concurrent.futures.ProcessPoolExecutor(jobs, context, leave_signals_to_parent) as pool:
            for code, text in pool.map(convert_one, tasks):
                print(f"parquet2tsv.py: {text}", file=sys.stderr)
                codes.add(code)
    except concurrent.futures.process.BrokenProcessPool:
        print("parquet2tsv.py: a worker was killed: too little memory, mostly; files that are whole are kept", file=sys.stderr)
        return 70
    return max(codes - {75}) or max(codes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.parquet")
    parser.add_argument("--out", metavar="FOLDER", help="write there instead of beside each file")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="files converted at a time (1)")
    parser.add_argument("--columns", metavar="NAMES", help="keep these columns, instead of those npr-ingest knows")
    parser.add_argument("--batch", type=int, default=65536, metavar="N", help="rows in memory at a time (65536)")
    parser.error = lambda text: (print(f"parquet2tsv.py: {text}", file=sys.stderr), sys.exit(64))
    options = parser.parse_args()
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        print("parquet2tsv.py: pyarrow is missing: python3 -m venv V && V/bin/pip install pyarrow, then run this with "
              "V/bin/python", file=sys.stderr)
        return 78
    if options.out:
        os.makedirs(options.out, exist_ok=True)
    tasks, wanted = [], {name.strip().lower() for name in options.columns.split(",")} if options.columns else None
    for source in options.files:
        stem = source[:-8] if source.endswith(".parquet") else source
        folder = options.out or os.path.dirname(stem)
        tasks.append((source, os.path.join(folder, os.path.basename(stem) + ".tsv"), max(1, options.batch), wanted))
    return convert_all(tasks, max(1, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
