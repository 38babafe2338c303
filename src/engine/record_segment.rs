//! Changes of segments as bytes of a log record, and back.
//!
//! Invariant: a definition is kept as its filter text, which reads back to the same expression for
//! good: the language only grows.

use super::record::user_id;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{
    FirstMembers, Labels, ListDeclaration, NonEmpty, Revision, SegmentChange, SegmentDeclaration,
    SegmentName, Text, UserId,
};
use crate::population::{decode_definition, decode_frozen, encode_definition, encode_frozen};

pub(super) const CREATE_SEGMENT: u8 = 11;
pub(super) const UPDATE_SEGMENT: u8 = 12;
pub(super) const DELETE_SEGMENT: u8 = 13;
pub(super) const CREATE_LIST: u8 = 14;
pub(super) const ADD_MEMBERS: u8 = 15;
pub(super) const REMOVE_MEMBERS: u8 = 16;

/// Where the first members of a list come from.
const GIVEN: u8 = 1;
const FROZEN: u8 = 2;

pub(super) fn encode_creation(encoder: &mut Encoder, declaration: &SegmentDeclaration) {
    encoder.text(declaration.name.as_str());
    encode_definition(encoder, &declaration.definition);
    encoder.text(declaration.description.as_str());
    encode_labels(encoder, &declaration.labels);
}

pub(super) fn decode_creation(
    decoder: &mut Decoder<'_>,
) -> Result<SegmentDeclaration, DecodeError> {
    Ok(SegmentDeclaration {
        name: segment_name(decoder)?,
        definition: decode_definition(decoder)?,
        description: text(decoder)?,
        labels: decode_labels(decoder)?,
    })
}

pub(super) fn encode_change(encoder: &mut Encoder, change: &SegmentChange) {
    encoder.text(change.name.as_str());
    option(
        encoder,
        change.definition.as_ref(),
        |encoder, definition| {
            encode_definition(encoder, definition);
        },
    );
    option(encoder, change.description.as_ref(), |encoder, text| {
        encoder.text(text.as_str());
    });
    option(encoder, change.labels.as_ref(), encode_labels);
    encode_since(encoder, change.unchanged_since);
}

pub(super) fn decode_change(decoder: &mut Decoder<'_>) -> Result<SegmentChange, DecodeError> {
    Ok(SegmentChange {
        name: segment_name(decoder)?,
        definition: decode_option(decoder, decode_definition)?,
        description: decode_option(decoder, text)?,
        labels: decode_option(decoder, decode_labels)?,
        unchanged_since: decode_since(decoder)?,
    })
}

pub(super) fn encode_deletion(
    encoder: &mut Encoder,
    name: &SegmentName,
    unchanged_since: Option<Revision>,
) {
    encoder.text(name.as_str());
    encode_since(encoder, unchanged_since);
}

pub(super) fn decode_deletion(
    decoder: &mut Decoder<'_>,
) -> Result<(SegmentName, Option<Revision>), DecodeError> {
    Ok((segment_name(decoder)?, decode_since(decoder)?))
}

pub(super) fn encode_list(encoder: &mut Encoder, declaration: &ListDeclaration) {
    encoder.text(declaration.name.as_str());
    encoder.text(declaration.description.as_str());
    encode_labels(encoder, &declaration.labels);
    match &declaration.members {
        FirstMembers::Users(users) => {
            encoder.u8(GIVEN);
            encode_users(encoder, users);
        }
        FirstMembers::Frozen(users) => {
            encoder.u8(FROZEN);
            encode_frozen(encoder, users);
        }
    }
}

pub(super) fn decode_list(decoder: &mut Decoder<'_>) -> Result<ListDeclaration, DecodeError> {
    Ok(ListDeclaration {
        name: segment_name(decoder)?,
        description: text(decoder)?,
        labels: decode_labels(decoder)?,
        members: match decoder.u8()? {
            GIVEN => FirstMembers::Users(decode_users(decoder)?),
            FROZEN => FirstMembers::Frozen(decode_frozen(decoder)?),
            other => return Err(decoder.bad_value("where members come from", other)),
        },
    })
}

pub(super) fn encode_members(encoder: &mut Encoder, list: &SegmentName, users: &[UserId]) {
    encoder.text(list.as_str());
    encode_users(encoder, users);
}

pub(super) fn decode_members(
    decoder: &mut Decoder<'_>,
) -> Result<(SegmentName, NonEmpty<UserId>), DecodeError> {
    let name = segment_name(decoder)?;
    let users = NonEmpty::new(decode_users(decoder)?);
    Ok((
        name,
        users.ok_or_else(|| decoder.bad_value("the number of members", 0_u8))?,
    ))
}

fn encode_users(encoder: &mut Encoder, users: &[UserId]) {
    encoder.count(users.len() as u64);
    for user in users {
        encoder.text(user.as_str());
    }
}

fn decode_users(decoder: &mut Decoder<'_>) -> Result<Vec<UserId>, DecodeError> {
    let mut users = Vec::new();
    for _ in 0..decoder.length(2)? {
        users.push(user_id(decoder)?);
    }
    Ok(users)
}

fn option<T: ?Sized>(
    encoder: &mut Encoder,
    value: Option<&T>,
    encode: impl FnOnce(&mut Encoder, &T),
) {
    encoder.u8(u8::from(value.is_some()));
    if let Some(value) = value {
        encode(encoder, value);
    }
}

fn decode_option<T>(
    decoder: &mut Decoder<'_>,
    decode: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match decoder.u8()? {
        0 => Ok(None),
        1 => decode(decoder).map(Some),
        other => Err(decoder.bad_value("whether something is changed", other)),
    }
}

fn encode_since(encoder: &mut Encoder, since: Option<Revision>) {
    option(encoder, since.as_ref(), |encoder, since| {
        encoder.count(since.number());
    });
}

fn decode_since(decoder: &mut Decoder<'_>) -> Result<Option<Revision>, DecodeError> {
    decode_option(decoder, |decoder| decoder.count().map(Revision::new))
}

fn encode_labels(encoder: &mut Encoder, labels: &Labels) {
    encoder.count(labels.len() as u64);
    for (key, value) in labels {
        encoder.text(key.as_str());
        encoder.text(value.as_str());
    }
}

fn decode_labels(decoder: &mut Decoder<'_>) -> Result<Labels, DecodeError> {
    let mut labels = Labels::new();
    for _ in 0..decoder.length(2)? {
        labels.insert(text(decoder)?, text(decoder)?);
    }
    Ok(labels)
}

fn text(decoder: &mut Decoder<'_>) -> Result<Text, DecodeError> {
    let text = decoder.text()?;
    Text::new(text).map_err(|_| decoder.bad_value("the length of a text", text.len() as u64))
}

fn segment_name(decoder: &mut Decoder<'_>) -> Result<SegmentName, DecodeError> {
    let text = decoder.text()?;
    SegmentName::new(text)
        .map_err(|_| decoder.bad_value("the length of a segment's name", text.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::{decode, encode};
    use crate::filter;
    use crate::model::{
        Action, Command, Expression, FrozenUsers, PopulationName, StoreLimits, Timestamp,
        UserUpdate,
    };
    use crate::population::Population;
    use crate::query::{Stop, bind, freeze};

    /// Everyone of a population of three.
    fn frozen() -> FrozenUsers {
        let population = Population::new(StoreLimits::default());
        let updates = ["a", "b", "c"].map(|user| UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: Vec::new(),
        });
        let write = Action::Write(NonEmpty::new(updates.into()).unwrap());
        population.apply(Revision::new(4), &write).unwrap();
        let bound = bind(&population, &Expression::Everyone, Timestamp::MAX).unwrap();
        freeze(&population, &bound, Revision::new(4), &Stop::never()).unwrap()
    }

    fn commands() -> Vec<Command> {
        let filter = "country IN ('FR', 'DE') AND NOT segment('it''s') AND count(buy, 30d) >= 3";
        let definition = filter::parse(filter).unwrap();
        let name = SegmentName::new("vip").unwrap();
        let labels: Labels = [(Text::new("team").unwrap(), Text::new("crm").unwrap())].into();
        let declaration = SegmentDeclaration {
            name: name.clone(),
            definition: definition.clone(),
            description: Text::new("").unwrap(),
            labels: labels.clone(),
        };
        let change = SegmentChange {
            name: name.clone(),
            definition: None,
            description: Some(Text::new("who buys").unwrap()),
            labels: None,
            unchanged_since: Some(Revision::new(7)),
        };
        let all = SegmentChange {
            definition: Some(definition),
            labels: Some(labels),
            unchanged_since: None,
            ..change.clone()
        };
        let user = |number: u32| UserId::new(format!("u{number}")).unwrap();
        let list = |members| {
            let declaration = ListDeclaration {
                name: name.clone(),
                description: Text::new("who was asked").unwrap(),
                labels: Labels::new(),
                members,
            };
            Action::CreateList(Box::new(declaration), Timestamp::MIN)
        };
        let users = NonEmpty::new(vec![user(7), user(8)]).unwrap();
        [
            Action::CreateSegment(Box::new(declaration), Timestamp::MAX),
            Action::UpdateSegment(Box::new(change), Timestamp::MIN),
            Action::UpdateSegment(Box::new(all), Timestamp::MIN),
            Action::DeleteSegment(name.clone(), None),
            Action::DeleteSegment(name.clone(), Some(Revision::new(u64::MAX))),
            list(FirstMembers::Users(Vec::new())),
            list(FirstMembers::Users(vec![user(7), user(3)])),
            list(FirstMembers::Frozen(frozen())),
            Action::AddMembers(name.clone(), users.clone()),
            Action::RemoveMembers(name, users),
        ]
        .into_iter()
        .map(|action| Command::Population {
            name: PopulationName::default(),
            once: None,
            action,
        })
        .collect()
    }

    #[test]
    fn every_change_of_a_segment_comes_back() {
        for command in commands() {
            assert_eq!(decode(&encode(&command)), Ok(command));
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_another_command_but_never_a_panic() {
        for command in commands() {
            let bytes = encode(&command);
            for place in 0..bytes.len() {
                assert!(decode(&bytes[..place]).is_err());
                let mut damaged = bytes.clone();
                damaged[place] ^= 1;
                let _ = decode(&damaged);
            }
        }
    }
}
