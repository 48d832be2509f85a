//! What the numbers of errors mean.

use mysql_async::{DriverError, Error, ServerError};

use crate::ground::database::{DbError, ErrorKind};

/// What went wrong, in the words of the server.
pub(super) fn of(error: &Error) -> DbError {
    match error {
        Error::Server(error) => {
            DbError::new(kind(error), format!("{} (error {})", error.message, error.code))
        }
        Error::Driver(error) => of_driver(error),
        Error::Io(mysql_async::IoError::Io(error)) => {
            DbError::new(ErrorKind::Unreachable, error.to_string())
        }
        Error::Io(error) => DbError::new(ErrorKind::Unreachable, error.to_string()),
        Error::Other(_) | Error::Url(_) => DbError::new(ErrorKind::Other, error.to_string()),
    }
}

/// Whether the server cannot encrypt.
pub(super) fn has_no_tls(error: &DbError) -> bool {
    error.text == DriverError::NoClientSslFlagFromServer.to_string()
}

fn of_driver(error: &DriverError) -> DbError {
    let kind = match error {
        DriverError::ConnectionClosed
        | DriverError::PacketOutOfOrder
        | DriverError::UnexpectedPacket { .. }
        | DriverError::BadCompressedPacketHeader
        | DriverError::NoClientSslFlagFromServer => ErrorKind::Unreachable,
        DriverError::UnknownAuthPlugin { .. }
        | DriverError::MysqlOldPasswordDisabled
        | DriverError::CleartextPluginDisabled => ErrorKind::Denied,
        DriverError::LocalInfile(_) => {
            // Only what a session copies itself is read here.
            let text = "a statement cannot load a file of this machine (LOAD DATA LOCAL)";
            return DbError::new(ErrorKind::Other, text);
        }
        _ => ErrorKind::Other,
    };
    DbError::new(kind, error.to_string())
}

fn kind(error: &ServerError) -> ErrorKind {
    if is_full(error) {
        return ErrorKind::Full;
    }
    match error.code {
        // After a wait that was too long the transaction is still open.
        1205 | 3572 => ErrorKind::Busy,
        // A deadlock, also in two phases; a row that changed since it was first seen.
        1213 | 1614 | 1020 => ErrorKind::Conflict,
        // Of the server itself; wrong passwords; of a table, a column, a command, a
        // routine; an expired password; a server that only reads.
        1044 | 1045 | 1095 | 1129 | 1130 | 1142 | 1143 | 1227 | 1251 | 1290 | 1370 | 1698
        | 1820 | 1836 | 1862 | 2059 => ErrorKind::Denied,
        1049 | 1051 | 1054 | 1109 | 1146 => ErrorKind::NotThere,
        1022 | 1062 | 1586 => ErrorKind::Duplicate,
        // Too many connections; not ready; shutting down; killed; lost.
        1040
        | 1047
        | 1053
        | 1077
        | 1079
        | 1152
        | 1158..=1161
        | 1184
        | 1203
        | 1927
        | 2002
        | 2003
        | 2006
        | 2013
        | 3169
        | 4031 => ErrorKind::Unreachable,
        _ => ErrorKind::Other,
    }
}

/// Disks are full in many ways.
fn is_full(error: &ServerError) -> bool {
    match error.code {
        1021 | 1114 => true,
        3 | 1005 | 1026 | 1030 | 1180 => ["No space left", "errno: 28", "error: 28", "error 28"]
            .iter()
            .any(|sign| error.message.contains(sign)),
        _ => false,
    }
}

/// What went wrong with records that were inserted, at the number `first` and after. An
/// error that says that a record does not fit says which, as a row of its statement.
pub(super) fn of_record(error: &Error, first: u64) -> DbError {
    match error {
        Error::Server(error) if is_of_record(error) => {
            bad_record(&error.message, error.code, |row| first + row - 1)
        }
        error => of(error),
    }
}

/// An error of a record, from what the server says about it.
pub(super) fn bad_record(text: &str, code: u16, number: impl Fn(u64) -> u64) -> DbError {
    let (text, row) = without_row(text);
    let row = row.filter(|row| *row > 0).map(number);
    DbError::new(ErrorKind::BadRecord(row), format!("{text} (error {code})"))
}

/// Whether it is of what a record holds.
fn is_of_record(error: &ServerError) -> bool {
    let class = error.state.get(..2).unwrap_or_default();
    // Data, integrity, and what a trigger says; what has no state of its own: NULL, no
    // default, no partition, a check, JSON, text that is not.
    matches!(class, "22" | "23" | "45")
        || matches!(
            error.code,
            1263..=1265 | 1292 | 1300 | 1364 | 1366 | 1367 | 1406 | 1411 | 1416 | 1526 | 3140
                ..=3158 | 3819 | 4025
        )
}

/// A message, and the row that it is about: it ends in ` at row N`, in any language.
fn without_row(message: &str) -> (&str, Option<u64>) {
    let start = message.trim_end_matches(|c: char| c.is_ascii_digit());
    let Ok(row) = message[start.len()..].parse() else { return (message, None) };
    match start.strip_suffix(" at row ") {
        Some(text) => (text, Some(row)),
        // A duplicate ends in a name; a row ends the message after a space.
        None if start.ends_with(' ') => (message, Some(row)),
        None => (message, None),
    }
}

/// Whether the server does not let records be loaded from here.
pub(super) fn refuses_local(error: &Error) -> bool {
    matches!(error, Error::Server(ServerError { code: 1148 | 3948 | 4166, .. }))
}

/// Whether a savepoint is not there.
pub(super) fn says_no_savepoint(error: &Error) -> bool {
    matches!(error, Error::Server(ServerError { code: 1305, .. }))
}

/// Whether a statement was cancelled, or its connection.
pub(super) fn was_cancelled(error: &Error) -> bool {
    matches!(error, Error::Server(ServerError { code: 1028 | 1317 | 1927 | 1053, .. }))
}

/// Whether nothing more can be said on the connection.
pub(super) fn ends_connection(error: &Error) -> bool {
    matches!(error, Error::Server(ServerError { code: 1053 | 1079 | 1927 | 3169 | 4031, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, state: &str, message: &str) -> Error {
        Error::Server(ServerError { code, message: message.to_owned(), state: state.to_owned() })
    }

    #[test]
    fn numbers_have_kinds() {
        for (code, kind) in [
            (1205, ErrorKind::Busy),
            (1213, ErrorKind::Conflict),
            (1020, ErrorKind::Conflict),
            (1045, ErrorKind::Denied),
            (1146, ErrorKind::NotThere),
            (1049, ErrorKind::NotThere),
            (1062, ErrorKind::Duplicate),
            (1586, ErrorKind::Duplicate),
            (1114, ErrorKind::Full),
            (1053, ErrorKind::Unreachable),
            (1064, ErrorKind::Other),
        ] {
            assert_eq!(of(&error(code, "HY000", "it failed")).kind, kind, "{code}");
        }
        let full = "Error writing file '/var/tmp/x' (Errcode: 28 \"No space left on device\")";
        assert_eq!(of(&error(3, "HY000", full)).kind, ErrorKind::Full);
        let other = "Error writing file '/var/tmp/x' (Errcode: 5 \"Input/output error\")";
        assert_eq!(of(&error(3, "HY000", other)).kind, ErrorKind::Other);
    }

    #[test]
    fn the_row_of_a_chunk_is_counted_among_all_records() {
        let long = error(1406, "22001", "Data too long for column 'b' at row 3");
        assert_eq!(
            of_record(&long, 1001),
            DbError::new(
                ErrorKind::BadRecord(Some(1003)),
                "Data too long for column 'b' (error 1406)"
            )
        );
        let twice = error(1062, "23000", "Duplicate entry '7' for key 'PRIMARY'");
        assert_eq!(of_record(&twice, 1001).kind, ErrorKind::BadRecord(None));
        let lock = error(1205, "HY000", "Lock wait timeout exceeded");
        assert_eq!(of_record(&lock, 1).kind, ErrorKind::Busy);
    }
}
