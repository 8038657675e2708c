/// Standard output takes nothing, and does not say so: the standard library counts what it writes
/// there as written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritable {
    /// Before `main`, the standard library puts /dev/null in its place, open for reading and
    /// writing. Were that done by somebody else, nobody could tell.
    #[error(
        "standard output is closed, or is /dev/null opened for reading too, which looks the same, \
         and --checkpoint would count every record as printed: redirect it, by >/dev/null if no \
         record is wanted"
    )]
    Closed,
    #[error("standard output is not open for writing: redirect it to a file or a pipe")]
    ReadOnly,
}

/// Sees that standard output takes what is written, or throws it away because it was told to.
///
/// Where `remembers` says that what is printed is remembered as done, one that may be closed is not
/// good enough. Elsewhere it does no harm, and programs that start others often give them such a one.
///
/// # Errors
///
/// If it would throw things away untold.
#[cfg(unix)]
pub(crate) fn check_writable(remembers: bool) -> Result<(), NotWritable> {
    use rustix::fs::{OFlags, fcntl_getfl};

    let Ok(flags) = fcntl_getfl(std::io::stdout()) else {
        return Err(NotWritable::Closed);
    };
    match flags & OFlags::ACCMODE {
        OFlags::RDWR if remembers && is_null() => Err(NotWritable::Closed),
        OFlags::RDWR | OFlags::WRONLY => Ok(()),
        _ => Err(NotWritable::ReadOnly),
    }
}

/// Whether standard output is /dev/null, by whatever name it was opened.
#[cfg(unix)]
fn is_null() -> bool {
    use rustix::fs::{FileType, Stat, fstat, stat};

    let device = |file: Stat| match FileType::from_raw_mode(file.st_mode) {
        FileType::CharacterDevice => Some(file.st_rdev),
        _ => None,
    };
    let stdout = fstat(std::io::stdout()).ok().and_then(device);
    let null = stat("/dev/null").ok().and_then(device);
    stdout.is_some() && stdout == null
}

#[cfg(not(unix))]
pub(crate) fn check_writable(_: bool) -> Result<(), NotWritable> {
    Ok(())
}
