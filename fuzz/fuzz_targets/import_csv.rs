//! Any bytes are rows of CSV or bad rows, each with its line, in the order of the file; and cells
//! that are written with quotes are read as they were written.

#![no_main]

use headcount::cli::probe::{ImportFormat, ImportRow, import_rows};
use headcount::proto::value::Kind;
use headcount::testing::generate::{Choices, text};
use headcount_fuzz::judge_rows;
use libfuzzer_sys::fuzz_target;

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fuzz_target!(|bytes: &[u8]| {
    for flags in [
        &[][..],
        &["--events", "--event", "purchase"],
        &["--delimiter", ";", "--types", "a=string_set(,)"],
    ] {
        judge_rows(bytes, ImportFormat::Csv, flags);
    }

    let mut choices = Choices::new(bytes);
    let mut file = String::from("user_id,a,b\n");
    let mut written = Vec::new();
    for number in 0..choices.below(20) {
        let cells = [
            format!("user {number}"),
            text(&mut choices).as_str().to_owned(),
            text(&mut choices).as_str().to_owned(),
        ];
        file += &cells.each_ref().map(|cell| quoted(cell)).join(",");
        let end = choices.pick(&["\n", "\r\n", "\n\n"]);
        file += end;
        written.push((cells, end));
    }
    let types = ["--types", "a=string,b=string"];
    let Ok(rows) = import_rows(file.clone().into_bytes(), ImportFormat::Csv, &types) else {
        panic!("{file:?} was refused");
    };
    assert_eq!(rows.len(), written.len(), "{rows:?} of {file:?}");
    for (row, ([id, a, b], end)) in rows.into_iter().zip(written) {
        let ImportRow::Update(_, update) = row else {
            panic!("{row:?} of {file:?}");
        };
        assert_eq!(update.user_id, id);
        for (column, cell) in [("a", a), ("b", b)] {
            // An empty cell is no value, and one return before the end of a line belongs to it.
            let found = match update.set.get(column).map(|value| &value.kind) {
                Some(Some(Kind::StringValue(found))) => found.as_str(),
                None => "",
                other => panic!("{other:?} of {file:?}"),
            };
            let expected = if column == "b" && end != "\r\n" {
                cell.strip_suffix('\r').unwrap_or(&cell)
            } else {
                &cell
            };
            assert_eq!(found, expected, "{file:?}");
        }
    }
});
