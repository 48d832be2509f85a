//! The reader, held against tables of cases, against what writes CSV, and against what
//! counts it.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;

use super::*;
use crate::words::rows::{self, Counter};

/// `None` is NULL.
type Fields = Vec<Option<String>>;

fn all(mut reader: Reader) -> Result<Vec<Fields>, String> {
    let mut record = Record::default();
    let mut records = Vec::new();
    while reader.next(&mut record)? {
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).expect("UTF-8");
        records.push(record.fields().map(|field| field.map(text)).collect());
    }
    assert_eq!(reader.rows(), records.len() as u64);
    Ok(records)
}

fn open(text: impl AsRef<[u8]>, format: Format) -> Result<Reader, String> {
    Reader::open(Cursor::new(text.as_ref().to_vec()), format, Packing::None)
}

fn read(text: impl AsRef<[u8]>, format: Format) -> Result<Vec<Fields>, String> {
    all(open(text, format)?)
}

/// As they are written in the tables: NULL is `-`.
fn shown(records: Result<Vec<Fields>, String>) -> String {
    match records {
        Err(error) => format!("error: {error}"),
        Ok(records) => {
            let field = |field: &Option<String>| match field {
                None => "-".to_owned(),
                Some(text) => format!("{text:?}"),
            };
            let record = |fields: &Fields| fields.iter().map(field).collect::<Vec<_>>().join(" ");
            records.iter().map(record).collect::<Vec<_>>().join(" | ")
        }
    }
}

/// Gives a byte at a time, and is interrupted before each.
struct Dripping(Cursor<Vec<u8>>, bool);

impl Read for Dripping {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = room.len().min(1);
        self.0.read(&mut room[..length])
    }
}

fn dripping(bytes: &[u8]) -> Dripping {
    Dripping(Cursor::new(bytes.to_vec()), false)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("written")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("it has checksums");
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("written")
}

#[test]
fn csv_is_read_as_it_is_written() {
    for (text, expected) in [
        ("a,b\n", ""),
        ("a,b\n1,2\n3,4\n", r#""1" "2" | "3" "4""#),
        // A last line may have no end, and may end in an empty field.
        ("a,b\n1,2\n3,4", r#""1" "2" | "3" "4""#),
        ("a,b\n1,", r#""1" -"#),
        ("a,b\n1,\"\"", r#""1" """#),
        ("a,b\n1,\"2\"", r#""1" "2""#),
        // Nothing is NULL, nothing between quotes is not.
        ("a,b\n,\"\"\n\"\",\n", r#"- "" | "" -"#),
        ("a\n\"\"\n", r#""""#),
        ("a,b\nNULL,\\N\n", r#""NULL" "\\N""#),
        // Ends of lines.
        ("a,b\r\n1,2\r\n\"3\",\r\n", r#""1" "2" | "3" -"#),
        ("a,b\r1,2\r3,4\r", r#""1" "2" | "3" "4""#),
        ("\n\r\n\ra,b\n\n\r\n1,2\n\n\r3,4\r\r\n\n", r#""1" "2" | "3" "4""#),
        ("a,b\n\"1\r\n\n2\",\"\r\"\n", r#""1\r\n\n2" "\r""#),
        // Quotes.
        ("a,b\n\"1,\"\"2\"\"\",\"\"\"\"\n", r#""1,\"2\"" "\"""#),
        ("a,b\n1\"2,3\"\"4\n", r#""1\"2" "3\"\"4""#),
        ("a,b\n \"1\", 2 \n", r#"" \"1\"" " 2 ""#),
        ("\"a\",\"b,\"\n1,2\n", r#""1" "2""#),
        // A byte order mark is no part of the first name.
        ("\u{feff}a,b\n1,2\n", r#""1" "2""#),
        ("\u{feff}\"a\",b\n\u{feff},2\n", r#""\u{feff}" "2""#),
        ("a,b\né,😀\n", r#""é" "😀""#),
    ] {
        assert_eq!(shown(read(text, Format::Csv)), expected, "{text:?}");
    }
}

#[test]
fn tsv_is_csv_with_tabs() {
    for (text, expected) in [
        ("a\tb\n1,2\t\n", r#""1,2" -"#),
        ("a\tb\n\"1\t2\"\t\"\"\n", r#""1\t2" """#),
        ("a\tb\n1\n", "error: line 2 has 1 field, the header has 2"),
    ] {
        assert_eq!(shown(read(text, Format::Tsv)), expected, "{text:?}");
    }
}

#[test]
fn what_is_wrong_with_csv_is_said_with_its_line() {
    for (text, expected) in [
        ("", "has no header"),
        ("\n\r\n", "has no header"),
        ("\u{feff}", "has no header"),
        ("a,b,a\n", "the header has column `a` twice"),
        ("a,,b\n", "the header has no name for column 2"),
        ("a,\"\"\n", "the header has no name for column 2"),
        ("a,b\0\n", "line 1, the header, has a NUL byte"),
        ("a,b\n1,2\n3\n", "line 3 has 1 field, the header has 2"),
        ("a,b\n\n\n1,2,3\n", "line 4 has 3 fields, the header has 2"),
        ("a,b\n1,2\n3", "line 3 has 1 field, the header has 2"),
        ("a,b\n\"1\n2\",3\n4\n", "line 4 has 1 field, the header has 2"),
        ("a,b\r\"1\n2\",3\r4\r", "line 4 has 1 field, the header has 2"),
        ("a,b\n1,\"2\n3,4\n", "line 2 opens a quote that is never closed: the file is cut off?"),
        ("a,b\n\"1\n2\",\"", "line 3 opens a quote that is never closed: the file is cut off?"),
        ("a,b\n1,\"2\"\"\n", "line 2 opens a quote that is never closed: the file is cut off?"),
        ("\"a,b\n", "line 1 opens a quote that is never closed: the file is cut off?"),
        ("a,b\n\n1,\"2\"x\n", "line 3: text follows the quoted field 2"),
        ("a,b\n\"1\" ,2\n", "line 2: text follows the quoted field 1"),
        ("a,b\n1,2\0\n", "line 2: column `b` has a NUL byte"),
        ("a,b\n\"\n\0\",\"2\"\n", "line 2: column `a` has a NUL byte"),
    ] {
        assert_eq!(shown(read(text, Format::Csv)), format!("error: {expected}"), "{text:?}");
    }
    for (bytes, expected) in [
        (&b"a,b\n1,2\n3,\xe9t\xe9\n"[..], "line 3: column `b` is not UTF-8"),
        (b"a,b\n\"3\n\xe9\",4\n", "line 2: column `a` is not UTF-8"),
        (b"a,b\n\xc3,\xa9\n", "line 2: column `a` is not UTF-8"),
        (b"a,\xe9\n", "line 1, the header, is not UTF-8"),
        (b"\xff\xfea\0,\0b\0\n\0", "is UTF-16; it has to be UTF-8"),
    ] {
        assert_eq!(shown(read(bytes, Format::Csv)), format!("error: {expected}"), "{bytes:?}");
    }
}

#[test]
fn an_object_is_read_as_it_is_written() {
    for (text, expected) in [
        ("", ""),
        ("\n \r\n", ""),
        ("{}\n{}", " | "),
        ("{\"a\":1,\"b\":\"x\"}\n{\"b\":\"y\",\"a\":2}\n", r#""1" "x" | "2" "y""#),
        ("\u{feff}{\"a\":1}\r\n\r\n  {\"a\": 2 }  \r\n", r#""1" | "2""#),
        ("{\"a\":null,\"b\":\"\"}\n{\"a\":\"null\"}\n", r#"- "" | "null" -"#),
        ("{\"a\":true,\"b\":false}\n", r#""true" "false""#),
        // No digit is lost.
        (
            "{\"a\":12345678901234567890123.4567890,\"b\":-1E+400}\n",
            r#""12345678901234567890123.4567890" "-1E+400""#,
        ),
        ("{\"a\":[1, {\"x\":\"\\n\"}],\"b\":{}}\n", r#""[1, {\"x\":\"\\n\"}]" "{}""#),
        ("{\"a\":\"1\\n\\\"\\u00e9\\ud83d\\ude00\",\"\\u0062\":\"é\"}", r#""1\n\"é😀" "é""#),
    ] {
        assert_eq!(shown(read(text, Format::JsonLines)), expected, "{text:?}");
    }
}

#[test]
fn what_is_wrong_with_an_object_is_said_with_its_line() {
    for (text, expected) in [
        ("{\"a\":1}\n\n[1]\n", "line 3 is not an object"),
        ("a,b\n1,2\n", "line 1 is not an object"),
        ("{\"a\":1,\"a\":1}\n", "line 1 has the key `a` twice"),
        ("{\"a\":1}\n{\"a\":1,\"\\u0061\":1}\n", "line 2 has the key `a` twice"),
        (
            "{\"a\":1}\n{\"a\":1,\"b\":1}\n",
            "line 2 has the key `b`, which the first record has not",
        ),
        ("{\"a\":1}\n{\"a\":}\n", "line 2 is not JSON at byte 6: expected value"),
        ("{\"a\":1} {\"a\":2}\n", "line 1 is not JSON at byte 9: trailing characters"),
        ("{\"a\":01}\n", "line 1 is not JSON at byte 7: invalid number"),
        ("{\n  \"a\":1\n}\n", "line 1 ends in the middle of an object: it has to be on one line"),
        ("{\"a\":1}\n{\"a\":\"x", "line 2 ends in the middle of an object: the file is cut off?"),
        ("{\"a\":\"\\ud800\"}\n", "line 1: key `a` is not Unicode"),
        ("{\"a\":\"\\u0000\"}\n", "line 1: key `a` has a NUL character"),
    ] {
        assert_eq!(shown(read(text, Format::JsonLines)), format!("error: {expected}"), "{text:?}");
    }
    let bytes = b"{\"a\":1}\n{\"a\":\"\xe9\"}\n";
    assert_eq!(shown(read(bytes, Format::JsonLines)), "error: line 2 is not UTF-8 at byte 7");
}

#[test]
fn columns_are_given_as_they_are_selected() {
    for (format, text) in [
        (Format::Csv, "a,b,c\n1,2,3\n\"4\",,6\n"),
        (Format::Tsv, "a\tb\tc\n1\t2\t3\n\"4\"\t\t6\n"),
        (Format::JsonLines, "{\"a\":1,\"b\":2,\"c\":3}\n{\"c\":6,\"a\":4}\n"),
    ] {
        for (columns, expected) in [
            (&["c", "a"][..], r#""3" "1" | "6" "4""#),
            (&["b", "b", "a"], r#""2" "2" "1" | - - "4""#),
            (&[], " | "),
        ] {
            let mut reader = open(text, format).expect("good");
            assert_eq!(reader.columns(), ["a", "b", "c"]);
            reader.select(columns, Others::Refuse).expect("they are there");
            assert_eq!(shown(all(reader)), expected, "{format:?} {columns:?}");
        }
    }
    let mut reader = open("a,b\n", Format::Csv).expect("good");
    assert_eq!(reader.select(&["a", "x"], Others::Ignore), Err("has no column `x`".to_owned()));
}

#[test]
fn keys_that_are_not_selected_are_passed_over_if_they_may_be() {
    let text = "{\"a\":1}\n{\"a\":2,\"x\":3,\"y\":{}}\n{\"y\":1,\"y\":2}\n";
    let selected = |others| {
        let mut reader = open(text, Format::JsonLines).expect("good");
        reader.select(&["x", "z"], others).expect("they may come");
        reader
    };
    let mut record = Record::default();

    let mut reader = selected(Others::Ignore);
    assert_eq!(reader.never_seen(), ["x", "z"]);
    assert_eq!((reader.next(&mut record), reader.line()), (Ok(true), 1));
    assert_eq!(record.fields().collect::<Vec<_>>(), [None, None]);
    assert_eq!((reader.next(&mut record), reader.line()), (Ok(true), 2));
    assert_eq!(record.fields().collect::<Vec<_>>(), [Some(&b"3"[..]), None]);
    assert_eq!(reader.never_seen(), ["z"]);
    let error = Err("line 3 has the key `y` twice".to_owned());
    assert_eq!(reader.next(&mut record), error);
    assert_eq!(reader.next(&mut record), error);
    assert!(record.is_empty());

    assert_eq!(
        shown(all(selected(Others::Refuse))),
        "error: line 2 has the key `y`, which the first record has not"
    );
}

#[test]
fn a_record_is_found_again() {
    let text = "a,b\n1,\"x\ny\"\n\n3,\n5,é\n";
    let find = |number, column| open(text, Format::Csv).expect("good").find(number, column);
    let found =
        |line, value: Option<&str>| Ok(Some(Found { line, value: value.map(ToOwned::to_owned) }));
    assert_eq!(find(1, Some("b")), found(2, Some("x\ny")));
    assert_eq!(find(2, Some("b")), found(5, None));
    assert_eq!(find(3, Some("b")), found(6, Some("é")));
    assert_eq!(find(3, None), found(6, None));
    assert_eq!(find(4, Some("b")), Ok(None));
    assert_eq!(find(1, Some("c")), Err("has no column `c`".to_owned()));
}

fn many_records() -> String {
    let mut text = "number,note\n".to_owned();
    for number in 0..60_000 {
        text.push_str(&format!("{number},\"the {number}th, \"\"so\"\" to say\"\n{number},\n"));
    }
    text
}

#[test]
fn what_is_packed_is_unpacked() {
    let text = many_records();
    let (first, second) = text.as_bytes().split_at(text.len() / 3);
    let expected = read(&text, Format::Csv).expect("good");
    assert_eq!(expected.len(), 120_000);
    for (packed, packing) in [
        (gzip(text.as_bytes()), Packing::Gzip),
        ([gzip(first), gzip(b""), gzip(second)].concat(), Packing::Gzip),
        ([gzip(text.as_bytes()), vec![0; 1000]].concat(), Packing::Gzip),
        (zstd(text.as_bytes()), Packing::Zstd),
        ([zstd(first), zstd(second)].concat(), Packing::Zstd),
    ] {
        let file = Cursor::new(packed.clone());
        let reader = Reader::open(file, Format::Csv, packing).expect("good");
        assert!(all(reader).expect("good") == expected, "{packing:?}");
        let reader = Reader::open(dripping(&packed), Format::Csv, packing).expect("good");
        assert!(all(reader).expect("good") == expected, "{packing:?}, byte by byte");
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_never_short() {
    let text = "a\n".to_owned() + &"1234\n2345\n3456\n".repeat(50);
    for (packed, packing) in
        [(gzip(text.as_bytes()), Packing::Gzip), (zstd(text.as_bytes()), Packing::Zstd)]
    {
        let unpacked = |bytes: Vec<u8>| {
            all(Reader::open(Cursor::new(bytes), Format::Csv, packing)?).map(|_| ())
        };
        for length in 0..packed.len() {
            let error = unpacked(packed[..length].to_vec()).expect_err("it is cut off");
            assert!(error.starts_with("is cut off or damaged: "), "{length}: {error}");
        }
        for at in 0..packed.len() {
            let mut bytes = packed.clone();
            bytes[at] ^= 0x40;
            let file = Cursor::new(bytes);
            let result = Reader::open(file, Format::Csv, packing).and_then(all);
            // Not every bit matters: one of the time does not, nor of the padding.
            assert!(result.is_err() || result == read(&text, Format::Csv), "{packing:?} {at}");
        }
        let error = unpacked([packed.clone(), b"more".to_vec()].concat()).expect_err("garbage");
        assert!(error.starts_with("is cut off or damaged: "), "{error}");
    }
    let padded = [gzip(b"{}\n"), vec![0; 9], gzip(b"{}\n")].concat();
    let error = Reader::open(Cursor::new(padded), Format::JsonLines, Packing::Gzip).err();
    assert_eq!(
        error.as_deref(),
        Some("is cut off or damaged: something else follows what is packed")
    );
}

/// A disk that fails after some bytes.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.0.read(room)? {
            0 => Err(io::Error::other("the disk is gone")),
            length => Ok(length),
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_not_called_damaged() {
    for (bytes, packing) in [
        (b"a\n1\n".to_vec(), Packing::None),
        (gzip(b"a\n1\n")[..12].to_vec(), Packing::Gzip),
        (gzip(b"a\n1\n")[..3].to_vec(), Packing::Gzip),
        (gzip(b"a\n1\n"), Packing::Gzip),
        (zstd(b"a\n1\n")[..12].to_vec(), Packing::Zstd),
    ] {
        let error = Reader::open(Failing(Cursor::new(bytes)), Format::Csv, packing).err();
        assert_eq!(error.as_deref(), Some("cannot be read: the disk is gone"), "{packing:?}");
    }
}

#[test]
fn a_record_may_be_longer_than_a_piece() {
    let long = "x\"\"\n,".repeat(400_000);
    let text = format!("a,b\n1,\"{long}\"\n2,{}\n3,4", "y".repeat(1_000_000));
    let records = read(text, Format::Csv).expect("good");
    assert_eq!(records.len(), 3);
    assert_eq!(records[0][1].as_ref().map(String::len), Some(4 * 400_000));
    assert_eq!(records[1][1].as_ref().map(String::len), Some(1_000_000));
    let text = format!("{{\"a\":\"{}\"}}\n{{\"a\":null}}", "y".repeat(1_000_000));
    assert_eq!(read(text, Format::JsonLines).expect("good").len(), 2);
}

#[test]
fn a_reader_can_be_sent_away() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&open("a\n", Format::Csv).expect("good"));
}

/// Records as the crate csv writes them. It cannot tell NULL from an empty text, and so
/// `\0` stands for an empty text until it is written.
fn written(
    records: &[Fields],
    style: csv::QuoteStyle,
    end: csv::Terminator,
    delimiter: u8,
) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(style)
        .terminator(end)
        .delimiter(delimiter)
        .from_writer(Vec::new());
    for record in records {
        let field = |field: &Option<String>| match field.as_deref() {
            None => String::new(),
            Some("") => "\0".to_owned(),
            Some(text) => text.to_owned(),
        };
        writer.write_record(record.iter().map(field)).expect("written");
    }
    let text = String::from_utf8(writer.into_inner().expect("written")).expect("UTF-8");
    text.replace("\"\0\"", "\"\"").replace('\0', "\"\"").into_bytes()
}

fn a_field() -> impl Strategy<Value = Option<String>> {
    let odd = "[ab,;\t\"\r\n é😀\u{feff}']{0,6}";
    prop_oneof![Just(None), "[a-z0-9]{0,4}".prop_map(Some), odd.prop_map(Some)]
}

/// A header, and records of as many fields.
fn a_table() -> impl Strategy<Value = Vec<Fields>> {
    (1_usize..6).prop_flat_map(|width| {
        let header: Fields = (0..width).map(|place| Some(format!("c{place}"))).collect();
        let record = proptest::collection::vec(a_field(), width);
        let records = proptest::collection::vec(record, 0..12);
        records.prop_map(move |records| [vec![header.clone()], records].concat())
    })
}

fn counted(bytes: &[u8], format: Format) -> u64 {
    let mut counter = Counter::new(rows::Records::from(format));
    counter.feed(bytes);
    counter.rows()
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        mut table in a_table(),
        always in any::<bool>(),
        unix in any::<bool>(),
        tabs in any::<bool>(),
    ) {
        let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let end = if unix { csv::Terminator::Any(b'\n') } else { csv::Terminator::CRLF };
        let (format, delimiter) = if tabs { (Format::Tsv, b'\t') } else { (Format::Csv, b',') };
        for field in table.iter_mut().flatten() {
            // A NULL that is quoted, as the writer does where all is, is none.
            if always && field.is_none() {
                *field = Some(String::new());
            }
        }
        if table[0].len() == 1 {
            // A record of one NULL is a blank line; the writer writes `""` instead.
            table.retain(|record| record[0].is_some());
        }
        let bytes = written(&table, style, end, delimiter);
        let mut expected = table;
        expected.remove(0);
        prop_assert_eq!(&read(&bytes, format), &Ok(expected.clone()));
        prop_assert_eq!(counted(&bytes, format), expected.len() as u64);
        let reader = Reader::open(dripping(&bytes), format, Packing::None).expect("good");
        prop_assert_eq!(all(reader), Ok(expected));
    }

    #[test]
    fn as_many_are_read_as_are_counted(text in "a[a,\"\n\r\t]{0,40}") {
        for format in [Format::Csv, Format::Tsv] {
            if let Ok(records) = read(&text, format) {
                prop_assert_eq!(records.len() as u64, counted(text.as_bytes(), format));
            }
        }
    }

    #[test]
    fn fields_are_those_of_csv_core(text in "a,b\n([ab]{0,2},(\"([ab,\n]|\"\")*\"|[ab]*)[\r\n]{1,2}){0,9}") {
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let expected: Vec<Vec<String>> = reader
            .records()
            .map(|record| record.expect("good").iter().map(ToOwned::to_owned).collect())
            .collect();
        let records = read(&text, Format::Csv).expect("good");
        let records: Vec<Vec<String>> = records
            .into_iter()
            .map(|record| record.into_iter().map(Option::unwrap_or_default).collect())
            .collect();
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn as_many_objects_are_read_as_are_counted(text in "(\\{\\}|\\{\"a\":\"\"\\}|[ \t\r]|\n){0,20}") {
        if let Ok(records) = read(&text, Format::JsonLines) {
            prop_assert_eq!(records.len() as u64, counted(text.as_bytes(), Format::JsonLines));
        }
    }
}

/// How fast it is: `SEMEL_RECORDS=FILE cargo test --release -p semel --lib -- --ignored
/// --nocapture how_fast`.
#[test]
#[ignore = "it measures"]
fn how_fast_records_are_read() {
    let path = std::env::var_os("SEMEL_RECORDS").expect("SEMEL_RECORDS names a file");
    let path = std::path::PathBuf::from(path);
    let (format, packing) = Format::of_name(&path).expect("its name says what it is");
    let bytes = std::fs::metadata(&path).expect("it is there").len();
    let fastest = (0..9)
        .map(|_| {
            let file = std::fs::File::open(&path).expect("it can be opened");
            let mut reader = Reader::open(file, format, packing).expect("good");
            let mut record = Record::default();
            let began = std::time::Instant::now();
            while reader.next(&mut record).expect("good") {
                std::hint::black_box(&record);
            }
            (began.elapsed(), reader.rows())
        })
        .min()
        .expect("it was read");
    let speed = bytes as f64 / 1e6 / fastest.0.as_secs_f64();
    println!("{} records, {speed:.0} MB/s of {bytes} bytes", fastest.1);
}
