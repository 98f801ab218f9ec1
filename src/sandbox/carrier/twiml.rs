//! What a webhook answers: `TwiML`, the vendor's XML, or plain text.
//!
//! Pure. Only the messaging verbs matter here. Source: Twilio, "`TwiML` for Programmable Messaging": XML types are run
//! as `TwiML`, `text/plain` is texted to the sender as it stands, an empty answer means nothing is to be said.

use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};

/// A `<Message>` of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) body: String,
    pub(super) media: Vec<String>,
    /// Another recipient than the sender of the text.
    pub(super) to: Option<String>,
    /// Where this reply's status is reported.
    pub(super) status_callback: Option<String>,
}

/// Reads an answer; an error is the vendor's code for its debugger.
pub(super) fn read(content_type: &str, body: &[u8]) -> Result<Vec<Reply>, u32> {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    match content_type {
        "text/plain" => Ok(vec![Reply { body: text.into_owned(), ..Reply::default() }]),
        "" | "text/xml" | "application/xml" | "text/html" => document(&text),
        _ => Err(12300),
    }
}

/// The code of a document that is not well-formed or not `TwiML`.
const NOT_TWIML: u32 = 12100;

fn document(text: &str) -> Result<Vec<Reply>, u32> {
    let mut reader = Reader::from_str(text);
    let mut replies = Replies::default();
    loop {
        match reader.read_event().map_err(|_| NOT_TWIML)? {
            Event::Start(start) => replies.open(&start)?,
            Event::Empty(start) => {
                replies.open(&start)?;
                replies.close();
            }
            Event::End(_) => replies.close(),
            Event::Text(text) => replies.say(&text.xml10_content().map_err(|_| NOT_TWIML)?),
            Event::CData(text) => replies.say(&text.decode().map_err(|_| NOT_TWIML)?),
            Event::GeneralRef(reference) => replies.say(&resolved(&reference)?),
            Event::Eof => return replies.finish(),
            _ => {}
        }
    }
}

fn resolved(reference: &BytesRef<'_>) -> Result<String, u32> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| NOT_TWIML)? {
        return Ok(character.to_string());
    }
    let name = reference.decode().map_err(|_| NOT_TWIML)?;
    resolve_predefined_entity(&name).map(str::to_owned).ok_or(NOT_TWIML)
}

/// The document as far as it has been read.
#[derive(Default)]
struct Replies {
    /// The elements that are open, outermost first.
    open: Vec<String>,
    has_root: bool,
    done: Vec<Reply>,
}

impl Replies {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), u32> {
        let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
        match self.open.len() {
            0 if name != "Response" || self.has_root => return Err(NOT_TWIML),
            0 => self.has_root = true,
            1 if matches!(name.as_str(), "Message" | "Sms") => self.done.push(reply(start)?),
            2 if name == "Media" => {
                if let Some(reply) = self.done.last_mut() {
                    reply.media.push(String::new());
                }
            }
            _ => {}
        }
        self.open.push(name);
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
    }

    /// Text counts inside a message, directly or in its body, and inside a media element.
    fn say(&mut self, text: &str) {
        let path: Vec<_> = self.open.iter().map(String::as_str).collect();
        let Some(reply) = self.done.last_mut() else { return };
        match path.as_slice() {
            ["Response", "Message" | "Sms"] | ["Response", "Message" | "Sms", "Body"] => reply.body.push_str(text),
            ["Response", "Message" | "Sms", "Media"] => {
                if let Some(media) = reply.media.last_mut() {
                    media.push_str(text);
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Result<Vec<Reply>, u32> {
        if !self.has_root || !self.open.is_empty() {
            return Err(NOT_TWIML);
        }
        for reply in &mut self.done {
            reply.body = reply.body.trim().to_owned();
            for media in &mut reply.media {
                *media = media.trim().to_owned();
            }
        }
        Ok(self.done)
    }
}

fn reply(start: &BytesStart<'_>) -> Result<Reply, u32> {
    let mut reply = Reply::default();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| NOT_TWIML)?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| NOT_TWIML)?.into_owned();
        match attribute.key.as_ref() {
            b"to" => reply.to = Some(value),
            b"action" | b"statusCallback" => reply.status_callback = Some(value),
            _ => {}
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("")]
    #[case("  \n")]
    #[case("<Response/>")]
    #[case("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>")]
    #[case("<Response><!-- nothing --></Response>")]
    fn an_empty_answer_says_nothing(#[case] body: &str) {
        assert_eq!(read("text/xml", body.as_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn messages_are_read_with_body_media_and_callback() {
        let body = "<Response>\n  <Message>Tom &amp; Ana &#8364;</Message>\n  <Message to=\"+12125550123\" action=\"https://x.example/s?a=1&amp;b=2\">\n    <Body><![CDATA[a < b]]></Body><Media>https://x.example/a.png</Media></Message>\n</Response>";
        let replies = read("application/xml", body.as_bytes()).unwrap();
        assert_eq!(replies[0].body, "Tom & Ana €");
        assert_eq!(replies[1].body, "a < b");
        assert_eq!(replies[1].media, ["https://x.example/a.png"]);
        assert_eq!(replies[1].to.as_deref(), Some("+12125550123"));
        assert_eq!(replies[1].status_callback.as_deref(), Some("https://x.example/s?a=1&b=2"));
    }

    #[rstest]
    #[case("text/xml", "OK", 12100)]
    #[case("text/xml", "<Response><Message>a</Response>", 12100)]
    #[case("text/html", "<html><body>Error</body></html>", 12100)]
    #[case("application/xml", "<Response>", 12100)]
    #[case("application/json", "{}", 12300)]
    fn what_is_not_twiml_is_complained_about(#[case] content_type: &str, #[case] body: &str, #[case] code: u32) {
        assert_eq!(read(content_type, body.as_bytes()), Err(code));
    }

    #[test]
    fn plain_text_is_texted_back() {
        assert_eq!(read("text/plain", b"OK").unwrap()[0].body, "OK");
    }
}
