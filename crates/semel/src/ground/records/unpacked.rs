//! The bytes of a file, unpacked.
//!
//! Invariant: the end is told only where it is the end. A stream that is cut off, or whose
//! checksum is wrong, is an error. As gzip does, what is packed in several pieces is read
//! as one, and zero bytes after a gzip stream are no part of it.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder;

use crate::words::rows::Packing;

/// What is asked of the file at once.
const PIECE: usize = 256 * 1024;

/// What gives a file's bytes.
pub(super) type Bytes = Box<dyn Read + Send>;

/// A file that is unpacked as it is read.
pub(super) enum Unpacked {
    /// It was not packed.
    Plain(Source),
    /// A stream of gzip.
    Gzip(Box<GzDecoder<BufReader<Source>>>),
    /// A stream of zstd.
    Zstd(Box<Decoder<'static, BufReader<Source>>>),
}

impl Unpacked {
    pub(super) fn new(file: Bytes, packing: Packing) -> Result<Self, String> {
        let source = Source { file, bytes: 0, has_failed: false };
        let buffered = |source| BufReader::with_capacity(PIECE, source);
        Ok(match packing {
            Packing::None => Self::Plain(source),
            Packing::Gzip => Self::Gzip(Box::new(GzDecoder::new(buffered(source)))),
            Packing::Zstd => {
                let decoder = Decoder::with_buffer(buffered(source))
                    .map_err(|error| format!("cannot be unpacked: {error}"))?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Reads as much as there is, or as there is room for: less is the end.
    pub(super) fn fill(&mut self, room: &mut [u8]) -> Result<usize, String> {
        let mut filled = 0;
        while filled < room.len() {
            match self.read(&mut room[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) => return Err(self.why(&error)),
            }
        }
        // To a decoder of zstd no stream at all is a good one.
        if filled < room.len() && self.is_packed() && self.source().bytes == 0 {
            return Err("is cut off or damaged: it is empty, which nothing packed is".to_owned());
        }
        Ok(filled)
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(room),
            Self::Gzip(decoder) => read_members(decoder, room),
            Self::Zstd(decoder) => decoder.read(room),
        }
    }

    fn why(&self, error: &io::Error) -> String {
        if self.source().has_failed {
            return format!("cannot be read: {error}");
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "is cut off or damaged: it ends in the middle of what is packed".to_owned()
            }
            _ => format!("is cut off or damaged: {error}"),
        }
    }

    const fn is_packed(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    fn source(&self) -> &Source {
        match self {
            Self::Plain(source) => source,
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }
}

/// The file itself, and what became of it: the decoders pass its errors on as theirs.
pub(super) struct Source {
    file: Bytes,
    bytes: u64,
    has_failed: bool,
}

impl Read for Source {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(room) {
                // A decoder that is interrupted within a header thinks it is at the end.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.has_failed = true;
                    return Err(error);
                }
                Ok(length) => {
                    self.bytes += length as u64;
                    return Ok(length);
                }
            }
        }
    }
}

/// Reads gzip, of which there may be any number of members.
fn read_members(decoder: &mut GzDecoder<BufReader<Source>>, room: &mut [u8]) -> io::Result<usize> {
    loop {
        let length = decoder.read(room)?;
        // It has compared the checksum before it tells the end of a member.
        if length > 0 || !member_begins(decoder.get_mut())? {
            return Ok(length);
        }
        let nothing = Source { file: Box::new(io::empty()), bytes: 0, has_failed: false };
        let nothing = GzDecoder::new(BufReader::with_capacity(0, nothing));
        let ended = std::mem::replace(decoder, nothing);
        *decoder = GzDecoder::new(ended.into_inner());
    }
}

/// Whether a member begins here; `false` at the end. Files that were on tape end in zeros.
fn member_begins(source: &mut BufReader<Source>) -> io::Result<bool> {
    let mut has_padding = false;
    loop {
        let bytes = source.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        match bytes.iter().position(|byte| *byte != 0) {
            Some(0) if !has_padding => return Ok(true),
            Some(_) => {
                let text = "something else follows what is packed";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            None => {
                has_padding = true;
                let length = bytes.len();
                source.consume(length);
            }
        }
    }
}
