"""Tables in and out: text files, Parquet, frames and arrays."""
