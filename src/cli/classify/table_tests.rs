use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use super::*;

fn columns(threshold: Option<f64>, top: usize, all: bool) -> Columns {
    Columns::new(&["3", "=8"].map(String::from), threshold, Kept { top, all })
}

fn record(path: &str, confidence: f64) -> Record {
    let top = vec![(1, confidence), (0, 1.0 - confidence)];
    Record { path: path.into(), row: Some(1), all: vec![1.0 - confidence, confidence], top, ..Record::default() }
}

fn written(format: Format, columns: Columns, records: &[Record]) -> Vec<u8> {
    let mut table = Table::start(format, columns, Vec::new()).unwrap();
    records.iter().for_each(|record| table.push(record).unwrap());
    table.finish().unwrap()
}

fn text(format: Format, columns: Columns, records: &[Record]) -> String {
    String::from_utf8(written(format, columns, records)).unwrap()
}

#[test]
fn csv_has_a_line_a_picture_and_runs_nothing_in_a_spreadsheet() {
    let mut second = record("a,\"b\"\n.png", 0.6);
    second.truth = Some(0);
    let records = [record("a.png", 0.9), second, Record { failed: Some("x".into()), ..Record::default() }];
    let short = |records: &[Record]| -> Vec<Record> {
        records.iter().cloned().map(|record| Record { all: Vec::new(), ..record }).collect()
    };
    let table = text(Format::Csv, columns(Some(0.7), 2, false), &short(&records));
    let expected = "path,label,best,confidence,runner_up,runner_up_confidence,truth,note\n\
        a.png,'=8,'=8,0.900000,3,0.100000,,\n\
        \"a,\"\"b\"\"\n.png\",unsure,'=8,0.600000,3,0.400000,3,\n";
    assert_eq!(table, expected);
}

#[test]
fn pictures_without_an_answer_are_called_by_a_word_that_no_class_has() {
    let words = [["3", "sure"], ["Unsure", "3"], ["unsure", "unsure-2"]];
    for (classes, word) in words.into_iter().zip(["unsure", "unsure-2", "unsure-3"]) {
        let columns = Columns::new(&classes.map(String::from), Some(0.9), Kept { top: 2, all: false });
        let labels = [0.95, 0.8].map(|confidence| columns.label(&record("a", confidence)).to_owned());
        assert_eq!(labels, [classes[1], word]);
    }
}

#[test]
fn json_lines_are_objects_with_the_same_columns() {
    let table = text(Format::Jsonl, columns(None, 2, true), &[record("é\n.png", 0.9)]);
    assert_eq!(table.lines().count(), 1);
    let row: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!((&row["path"], &row["label"]), (&"é\n.png".into(), &"=8".into()));
    assert_eq!((&row["confidence"], &row["p_3"], &row["truth"]), (&0.9.into(), &0.1.into(), &serde_json::Value::Null));
}

#[test]
fn parquet_reads_back_as_it_was_written() {
    let many: Vec<Record> = (0..GROUP + 10).map(|i| record(&format!("{i}.png"), 0.75)).collect();
    let bytes = written(Format::Parquet, columns(None, 2, true), &many);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    assert_eq!(reader.num_row_groups(), 2);
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), many.len());
    let row = &rows[GROUP + 3];
    assert_eq!(row.get_string(0).unwrap(), &format!("{}.png", GROUP + 3));
    assert_eq!((row.get_string(1).unwrap().as_str(), row.get_double(2).unwrap()), ("=8", 0.75));
    assert_eq!(row.get_double(8).unwrap(), 0.75);
}

#[test]
fn kaggle_gets_its_two_columns_with_the_classes_numbers() {
    let submitted = |columns| text(Format::Kaggle, columns, &[record("t.csv#1", 0.9)]);
    assert_eq!(submitted(columns(None, 1, false)), "ImageId,Label\n1,1\n");
    assert_eq!(columns(None, 1, false).numbering().as_deref(), Some("0 is 3, 1 is =8"));
    let digits = Columns { class_names: ["3", "8"].map(String::from).into(), ..columns(None, 1, false) };
    assert_eq!(digits.numbering(), None);
    assert_eq!(submitted(digits), "ImageId,Label\n1,8\n");
    let signed = Columns { class_names: ["3", "+8"].map(String::from).into(), ..columns(None, 1, false) };
    assert_eq!(signed.numbering().as_deref(), Some("0 is 3, 1 is +8"));
}
