//! The files of a log or a bundle on disk: folders and tar archives are read, an archive is written. An archive is
//! never unpacked: its names are only compared.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bailiwick_model::evidence::bundle::Bundle;

use super::super::CommandError;

/// The most bytes that one file may have: a manifest with thousands of keys has less.
const FILE_LIMIT: u64 = 1 << 20;

/// The files at `path` that a log or a bundle has, by their names in it.
///
/// # Errors
/// The path cannot be read, is no tar archive, or holds a file that is too large.
pub fn read(path: &Path) -> Result<Vec<(String, Vec<u8>)>, CommandError> {
    let read = if path.is_dir() {
        folder(path)
    } else {
        archive(path)
    };
    read.map_err(|source| CommandError::Read {
        file: path.to_owned(),
        source,
    })
}

fn folder(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let named = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = named(&entry);
        if !entry.file_type()?.is_dir() {
            files.push((name, limited(File::open(entry.path())?)?));
        } else if ["records", "keys"].contains(&name.as_str()) {
            for inner in std::fs::read_dir(entry.path())? {
                let inner = inner?;
                files.push((
                    format!("{name}/{}", named(&inner)),
                    limited(File::open(inner.path())?)?,
                ));
            }
        }
    }
    Ok(files)
}

fn archive(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = tar::Archive::new(io::BufReader::new(File::open(path)?));
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // As `tar -cf bundle.tar .` writes them.
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        files.push((name, limited(entry)?));
    }
    Ok(files)
}

fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_LIMIT) {
        Ok(bytes)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a file in it has more than 1 MiB; it is no evidence log",
        ))
    }
}

/// Writes a bundle into a new file. The same bundle gives the same bytes.
///
/// # Errors
/// The file is there already or cannot be written.
pub fn write(path: &Path, bundle: &Bundle) -> Result<(), CommandError> {
    let mut archive = tar::Builder::new(Vec::new());
    let failed = |source| CommandError::Write {
        file: path.to_owned(),
        source,
    };
    for (name, bytes) in bundle.files().map_err(|error| failed(error.into()))? {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, &name, bytes.as_slice())
            .map_err(failed)?;
    }
    let bytes = archive.into_inner().map_err(failed)?;
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}
