//! The style sheet and the scripts, compiled in. They hold nothing about anybody, so a browser may keep them and asks by
//! `ETag` whether they have changed.

use super::Failure;
use aws_lc_rs::digest;
use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use std::{fmt::Write as _, sync::LazyLock};

struct StaticFile {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
    etag: String,
}

impl StaticFile {
    fn new(name: &'static str, content_type: &'static str, content: &'static str) -> Self {
        let hash = digest::digest(&digest::SHA256, content.as_bytes());
        let hex = hash.as_ref().iter().take(12).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { name, content_type, content, etag: format!("\"{hex}\"") }
    }
}

static FILES: LazyLock<[StaticFile; 5]> = LazyLock::new(|| {
    [
        StaticFile::new("inbox.css", "text/css; charset=utf-8", include_str!("static/inbox.css")),
        StaticFile::new("inbox.js", "text/javascript; charset=utf-8", include_str!("static/inbox.js")),
        StaticFile::new("session.js", "text/javascript; charset=utf-8", include_str!("static/session.js")),
        StaticFile::new("worklist.js", "text/javascript; charset=utf-8", include_str!("static/worklist.js")),
        StaticFile::new("mark.svg", "image/svg+xml", include_str!("static/mark.svg")),
    ]
});

/// Answers with a file, or that it has not changed.
pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let file = FILES.iter().find(|file| file.name == name).ok_or(Failure::NotFound)?;
    let etag = HeaderValue::from_str(&file.etag).map_err(|_| Failure::Internal)?;
    let caching = [(header::ETAG, etag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.etag)) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Ok((caching, [(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type))], file.content).into_response())
}
