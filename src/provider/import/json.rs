//! JSON objects in which every member stands once, and whose strings are copied only for their escapes: they may be secret.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Format, ImportError};

/// The members of one object, in order.
pub(super) struct Members<'a>(Vec<(String, Member<'a>)>);

impl<'a> Members<'a> {
    /// Returns the member of this name.
    pub(super) fn find(&self, name: &str) -> Option<&Member<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, member)| member)
    }

    /// Returns the text of the member of this name.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, ImportError> {
        match self.find(name) {
            Some(Member::Text(text)) => Ok(text),
            _ => Err(ImportError::Member(name)),
        }
    }

    /// As [`text`](Self::text), for a member that is secret: base64 needs no escapes, and their copy would not be zeroed.
    pub(super) fn secret_text(&self, name: &'static str) -> Result<&'a str, ImportError> {
        match self.find(name) {
            Some(Member::Text(Cow::Borrowed(text))) => Ok(text),
            _ => Err(ImportError::Member(name)),
        }
    }

    /// Returns a name that stands twice in this object or in one inside it.
    fn duplicate(&self) -> Option<&str> {
        let mut names = BTreeSet::new();
        self.0.iter().find_map(|(name, member)| if names.insert(name) { member.duplicate() } else { Some(name) })
    }
}

/// The value of a member.
pub(super) enum Member<'a> {
    List(Vec<Member<'a>>),
    Object(Members<'a>),
    /// A number, a truth value or `null`.
    Other,
    Text(Cow<'a, str>),
}

impl Member<'_> {
    fn duplicate(&self) -> Option<&str> {
        match self {
            Self::List(list) => list.iter().find_map(Self::duplicate),
            Self::Object(members) => members.duplicate(),
            Self::Other | Self::Text(_) => None,
        }
    }
}

/// Parses one object and nothing behind it.
pub(super) fn parse(file: &[u8], format: Format) -> Result<Members<'_>, ImportError> {
    let mut reader = serde_json::Deserializer::from_slice(file);
    let members = Members::deserialize(&mut reader).map_err(|_| ImportError::Malformed(format))?;
    reader.end().map_err(|_| ImportError::TrailingData(format))?;
    match members.duplicate() {
        Some(name) => Err(ImportError::Duplicate(name.to_owned())),
        None => Ok(members),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_map(Values)? {
            Member::Object(members) => Ok(members),
            _ => Err(de::Error::custom("not an object")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Member<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Member::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Member<'de>, A::Error> {
        let mut members = Members(Vec::new());
        while let Some(name) = items.next_key::<String>()? {
            let value = items.next_value()?;
            members.0.push((name, value));
        }
        Ok(Member::Object(members))
    }
}
