//! Values as the server prints them.
//!
//! To a statement without parameters it answers in text. To one with parameters it
//! answers in numbers, and those are printed here in its way.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Value};

use crate::ground::database::Row;

/// How many digits after the point say that there is no fixed number of them.
const NOT_FIXED: u8 = 31;

/// A row as texts.
pub(super) fn texts(row: mysql_async::Row, columns: &[Column]) -> Result<Row, String> {
    row.unwrap().into_iter().zip(columns).map(|(value, column)| text(value, column)).collect()
}

fn text(value: Value, column: &Column) -> Result<Option<String>, String> {
    let text = match value {
        Value::NULL => return Ok(None),
        Value::Bytes(bytes) => String::from_utf8(bytes)
            .map_err(|_| format!("a value of the column `{}` is not UTF-8", column.name_str()))?,
        Value::Int(number) => filled(number.to_string(), column),
        Value::UInt(number) => filled(number.to_string(), column),
        Value::Float(number) => {
            let digits = match column.decimals() {
                // The server shows six digits of these.
                NOT_FIXED.. => float(f64::from(number), &format!("{number:.5e}")),
                decimals => format!("{:.*}", usize::from(decimals), f64::from(number)),
            };
            filled(digits, column)
        }
        Value::Double(number) => {
            let digits = match column.decimals() {
                NOT_FIXED.. => float(number, &format!("{number:e}")),
                decimals => format!("{number:.*}", usize::from(decimals)),
            };
            filled(digits, column)
        }
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let date = format!("{year:04}-{month:02}-{day:02}");
            if column.column_type() == ColumnType::MYSQL_TYPE_DATE {
                date
            } else {
                let fraction = fraction(micros, column);
                format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}")
            }
        }
        Value::Time(is_negative, days, hours, minutes, seconds, micros) => {
            let sign = if is_negative { "-" } else { "" };
            let hours = days * 24 + u32::from(hours);
            let fraction = fraction(micros, column);
            format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}")
        }
    };
    Ok(Some(text))
}

/// A number that is filled up with zeros, if its column is.
fn filled(text: String, column: &Column) -> String {
    let is_year = column.column_type() == ColumnType::MYSQL_TYPE_YEAR;
    if is_year || column.flags().contains(ColumnFlags::ZEROFILL_FLAG) {
        let width = usize::try_from(column.column_length()).unwrap_or_default();
        format!("{text:0>width$}")
    } else {
        text
    }
}

fn fraction(micros: u32, column: &Column) -> String {
    match usize::from(column.decimals()) {
        0 => String::new(),
        decimals => format!(".{}", &format!("{micros:06}")[..decimals.min(6)]),
    }
}

/// A number that is not a fixed one, from its digits in scientific notation.
fn float(number: f64, scientific: &str) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    match exponent.parse::<i32>() {
        // Between these it is written out; zero has no digits to count.
        Ok(exponent @ -15..=14) if number != 0.0 => {
            let (sign, digits) = match digits.strip_prefix('-') {
                Some(digits) => ("-", digits.replace('.', "")),
                None => ("", digits.replace('.', "")),
            };
            let text = if exponent < 0 {
                let zeros = usize::try_from(-exponent - 1).unwrap_or_default();
                format!("0.{}{digits}", "0".repeat(zeros))
            } else {
                let whole = usize::try_from(exponent + 1).unwrap_or_default();
                match digits.split_at_checked(whole) {
                    Some((whole, "")) => whole.to_owned(),
                    Some((whole, part)) => format!("{whole}.{part}"),
                    None => format!("{digits}{}", "0".repeat(whole - digits.len())),
                }
            };
            format!("{sign}{text}")
        }
        Ok(_) if number == 0.0 => {
            if number.is_sign_negative() {
                "-0".to_owned()
            } else {
                "0".to_owned()
            }
        }
        _ => format!("{digits}e{exponent}"),
    }
}
